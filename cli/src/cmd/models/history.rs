//! What happened to a model's versions.

use muster_core::retrain::registry::{Change, Entry, VersionNumber};
use serde_json::{Value, json};

use crate::output::Report;
use crate::table::Table;
use crate::when::shown;

/// Changes, newest first.
#[derive(Debug)]
pub(super) struct History(pub(super) Vec<Entry>);

impl Report for History {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "nothing has happened yet".to_owned();
        }
        let mut table = Table::new(["no.", "at", "by", "what"]);
        for entry in &self.0 {
            table.row([entry.number.to_string(), shown(entry.at), entry.by.clone(), said(&entry.change)]);
        }
        table.render()
    }

    fn json(&self) -> Value {
        json!({"history": self.0})
    }
}

/// A change in words.
fn said(change: &Change) -> String {
    let before = |at: &Option<VersionNumber>| at.map_or_else(|| "none".to_owned(), |at| at.to_string());
    match change {
        Change::Registered { version } => format!("{version} registered"),
        Change::Promoted { version, before: was } => {
            format!("{version} promoted, champion before: {}", before(was))
        }
        Change::RolledBack { version, from } => format!("rolled back from {from} to {version}"),
        Change::Moved { alias, version, before: was } => {
            format!("alias {alias} set to {version}, before: {}", before(was))
        }
        Change::Unnamed { alias, before: was } => format!("alias {alias} removed from {was}"),
        Change::Annotated { version } => format!("{version} got a note or a label, or lost one"),
        Change::Removed { version, checkpoint } => {
            format!("{version} removed, its checkpoint was {checkpoint}")
        }
    }
}
