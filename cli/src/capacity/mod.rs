//! Capacity questions: from files to answers, tables, CSV and pages. What is computed is in `muster_core`.

pub mod job_plan;
mod legend;
pub mod load;
pub mod page;
pub mod planned;
pub mod question;
pub mod rank_chart;
pub mod sweep;
mod unanswered;
pub mod validation;
