//! A model on a dataset that it was not trained on, to be judged there as it would be if it were asked.
//!
//! What it does not know stays what it is to a server of that model: a value of a column is the unknown value, an item is never
//! recommended. An item of a history that it does not know has a small random row, which says next to nothing.

use muster_collective::Collective;
use muster_proto::job::{KeptState, NewRows, WarmStartSpec};

use super::origins::{AllOrigins, NONE};
use super::{Error, Parent, take_over};
use crate::train::Trainer;

/// Puts a model's parameters in place of a trainer's initial ones; `before` is the folder of the dataset that it was trained on.
/// The items that it does not know, ascending. Collective.
///
/// # Errors
/// The model is damaged or of another shape than the trainer's job, its dataset cannot be read, or the two have no item in common.
pub fn stand_in(
    trainer: &mut Trainer,
    parent: &Parent,
    before: &str,
    collective: &mut dyn Collective,
) -> Result<Vec<u32>, Error> {
    let spec = WarmStartSpec {
        dataset: Some(before.to_owned()),
        optimizer_state: KeptState::Reset,
        new_rows: NewRows::Random,
        ..WarmStartSpec::of(parent.reader.location.address().display().to_string())
    };
    // New values of columns begin like the unknown one, as they do where items begin with the mean of their attributes'.
    let values = WarmStartSpec { new_rows: NewRows::Attributes, ..spec.clone() };
    let origins = AllOrigins::load_with(&spec, &values, parent, trainer)?;
    take_over(trainer, parent, (&spec, &origins), collective)?;
    let items = &origins.items.from;
    Ok((0..).zip(items).filter(|(_, row)| **row == NONE).map(|(item, _)| item).collect())
}
