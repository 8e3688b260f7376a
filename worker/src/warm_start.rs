//! Beginning from another model, the parent, instead of from initial values.
//!
//! Rows are known again by the keys of both datasets' vocabularies, so that it does not matter whether the parent's ids are a
//! prefix of the present ones (a log that grew) or lie elsewhere (other logs). A known row takes the parent's bits, weights
//! and optimizer state: before the first step a known item has the score that the parent gives it. What begins with the mean
//! of other rows is summed shard by shard along the canonical tree, so that no bit depends on which rank holds what.

mod copy;
mod mapping;
mod means;
mod origins;
mod parent;
mod pin;
mod shape;
mod stand_in;

use std::path::{Path, PathBuf};

use muster_collective::Collective;
use muster_proto::config;
use muster_proto::job::{KeptState, WarmStartSpec};

use self::origins::AllOrigins;
pub use self::parent::Parent;
pub use self::pin::pin;
pub use self::stand_in::stand_in;
use crate::train::Trainer;
use crate::{checkpoint, submission};

/// Why a job cannot begin from its parent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The parent's checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// A dataset cannot be read.
    #[error("cannot tell which rows the parent knows: {0}")]
    Data(#[from] muster_data::Error),
    /// The collective failed.
    #[error(transparent)]
    Collective(#[from] muster_collective::Error),
    /// A path that workers cannot be told.
    #[error(transparent)]
    Path(#[from] submission::Error),
    /// The parent's own job.
    #[error("cannot read the job of the parent in {}: {source}", path.display())]
    Job {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<config::Error>,
    },
    /// The parent is of another shape.
    #[error(
        "the parent in {} does not fit the job: {field} is {found} there and {expected} in the job; make them alike, or begin \
         from another model", path.display()
    )]
    Unlike {
        /// The checkpoint.
        path: PathBuf,
        /// The key of the job.
        field: String,
        /// In the parent.
        found: String,
        /// In the job.
        expected: String,
    },
    /// The parent is not the model that the job was made for.
    #[error(
        "{} is another model than the job begins from: its digest is {found}, not {expected}; restore the parent, or submit \
         the job anew", path.display()
    )]
    OtherModel {
        /// The checkpoint.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The digest that the job names.
        expected: String,
    },
    /// Nobody knows which dataset the parent was trained on.
    #[error("nothing says which dataset the parent in {} was trained on; name it", path.display())]
    NoDataset {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A dataset is not the one that is meant.
    #[error("{} is not the dataset of {of}: its digest is {found}, not {expected}; name the right one", path.display())]
    OtherDataset {
        /// Its folder.
        path: PathBuf,
        /// Whose dataset was expected.
        of: String,
        /// Its digest.
        found: String,
        /// The digest that was noted.
        expected: String,
    },
    /// The file that says which item is which.
    #[error("warm_start.items: {} {problem}", path.display())]
    Mapping {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The parent knows nothing of the dataset.
    #[error(
        "the parent in {} knows none of the {items} items of the dataset; see to it that both name items alike, or train \
         without a parent", path.display()
    )]
    Strangers {
        /// The checkpoint.
        path: PathBuf,
        /// Items of the dataset.
        items: usize,
    },
}

/// What of the item table came from the parent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Begun {
    /// Items that the parent knows, and that keep their rows.
    pub known: usize,
    /// Items that it does not know.
    pub new: usize,
    /// Items that it knows, but that were not seen for so long that they begin anew.
    pub evicted: usize,
}

/// Puts the parent's parameters in place of the trainer's initial ones, if its job names a parent. Collective.
///
/// # Errors
/// A parent that is missing, damaged or of another shape, datasets that cannot be read, or the collective's.
///
/// # Panics
/// After [`Trainer::move_to`]: the GPU would go on with the parameters that it took then.
pub fn begin(trainer: &mut Trainer, collective: &mut dyn Collective) -> Result<Option<Begun>, Error> {
    let Some(spec) = trainer.job.warm_start.clone() else { return Ok(None) };
    assert!(!trainer.is_on_gpu(), "a model begins before the trainer moves to a GPU");
    let parent = Parent::read(Path::new(&spec.parent))?;
    parent.check(&trainer.job)?;
    if trainer.set.of_model().is_empty() {
        copy_dense(trainer, &parent, &spec)?;
        return Ok(Some(Begun::default()));
    }
    let origins = AllOrigins::load(&spec, &parent, trainer)?;
    take_over(trainer, &parent, (&spec, &origins), collective)?;
    let begun = origins.begun();
    tracing::info!(
        parent = %parent.reader.location.address().display(),
        known = begun.known,
        new = begun.new,
        evicted = begun.evicted,
        "began from another model"
    );
    Ok(Some(begun))
}

/// Takes over what the parent has. Collective.
fn take_over(
    trainer: &mut Trainer,
    parent: &Parent,
    (spec, origins): (&WarmStartSpec, &AllOrigins),
    collective: &mut dyn Collective,
) -> Result<(), Error> {
    copy_dense(trainer, parent, spec)?;
    let kind = (spec.optimizer_state == KeptState::Keep).then_some(trainer.kinds().0);
    for table in &mut trainer.set.tables {
        let of_table = origins.of(table.decl.table());
        let name = spec.column_of_parent(table.decl.table()).to_owned();
        copy::rows(parent, &name, table, of_table, kind)?;
        means::begin_rows(table, of_table, kind, collective)?;
    }
    Ok(())
}

fn copy_dense(trainer: &mut Trainer, parent: &Parent, spec: &WarmStartSpec) -> Result<(), Error> {
    let kind = (spec.optimizer_state == KeptState::Keep).then_some(trainer.kinds().1);
    copy::dense(parent, &mut trainer.dense, kind)
}
