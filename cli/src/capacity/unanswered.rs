//! What is said where a pool has no answer: bytes that are missing, or what else is in the way.

use std::path::Path;

use muster_core::capacity::{Unanswered, Unplaced};
use muster_proto::capacity::CapacitySpec;
use serde_json::{Value, json};

use crate::error::{Error, Kind};

/// As a cell of a table.
pub(super) fn cell(error: &Unanswered) -> String {
    match error.no_room() {
        Some((table, missing)) if missing >= 1e8 => format!("no room: {table} lacks {:.1} GB", missing / 1e9),
        Some((table, missing)) => format!("no room: {table} lacks {:.3} MB", missing / 1e6),
        None => error.to_string(),
    }
}

/// As scripts read it.
pub(super) fn json(error: &Unanswered) -> Value {
    let no_room = error.no_room().map(|(table, missing)| json!({"table": table, "missing_bytes": missing}));
    json!({"message": error.to_string(), "no_room": no_room})
}

/// As the end of a command that asked about the pool of this index.
pub(super) fn refused(error: &Unanswered, spec: &CapacitySpec, pool: usize, file: &Path) -> Error {
    match error {
        Unanswered::Unplaced(unplaced) => no_place(unplaced, spec, file),
        other => {
            let error = Error::from_chain(Kind::BadInput, other).with_file(file);
            other.field(pool).into_iter().fold(error, Error::with_field)
        }
    }
}

/// The same for a retraining of the fleet, on the first pool.
pub(super) fn of_fleet(error: &Unanswered, spec: &CapacitySpec, index: usize, file: &Path) -> Error {
    let name = spec.fleet.get(index).map_or("", |retraining| &retraining.name);
    let field = error.field(0).unwrap_or_else(|| format!("fleet.{index}.nodes"));
    Error::bad_input(format!("retraining {name}: {error}")).with_file(file).with_field(field)
}

/// A model that has no place, as the end of a command: names the table or the dense part.
pub(super) fn no_place(error: &Unplaced, spec: &CapacitySpec, file: &Path) -> Error {
    if let Unplaced::Faulty { .. } = error {
        return Error::from_chain(Kind::Failed, error).with_file(file);
    }
    let at = spec.tables.iter().position(|table| table.name == error.table());
    let key = if matches!(error, Unplaced::Pinned { .. }) { ".ranks" } else { "" };
    let field = at.map_or_else(|| "dense".to_owned(), |idx| format!("tables.{idx}{key}"));
    Error::from_chain(Kind::BadInput, error).with_file(file).with_field(field)
}
