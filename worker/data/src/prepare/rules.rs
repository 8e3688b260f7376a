//! The names of the cleaning rules in reports, in the order in which they apply.

pub(super) const INVALID: &str = "invalid";
pub(super) const MISSING_USER: &str = "missing_user";
pub(super) const MISSING_ITEM: &str = "missing_item";
pub(super) const MISSING_TIME: &str = "missing_time";
pub(super) const IMPOSSIBLE_TIME: &str = "impossible_time";
pub(super) const DUPLICATE: &str = "duplicate";
pub(super) const RARE_ITEM: &str = "rare_item";
pub(super) const RARE_USER: &str = "rare_user";
pub(super) const OVER_MAX_USER_EVENTS: &str = "over_max_user_events";
pub(super) const SHORT_SEQUENCE: &str = "short_sequence";
