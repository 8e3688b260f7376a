//! Parameters that stay as they are for the first steps after a model began from another one.

use muster_proto::checkpoint::MANIFEST_FILE;
use muster_proto::config;
use muster_proto::job::{JobSpec, WarmStartSpec};

use super::step::Trainer;
use crate::checkpoint::{self, Reader};

/// What a step does not update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Frozen {
    /// The embedding tables.
    pub(crate) tables: bool,
    /// The dense parameters.
    pub(crate) dense: bool,
}

impl Trainer {
    /// What the next step does not update.
    pub(crate) fn frozen(&self) -> Frozen {
        let warm = self.job.warm_start.as_ref();
        warm.map_or_else(Frozen::default, |warm| Frozen {
            tables: self.step < warm.freeze_tables,
            dense: self.step < warm.freeze_dense,
        })
    }

    /// Forgets the gradients of what is frozen, so that they do not count in the norm by which the others are clipped.
    pub(super) fn drop_frozen_gradients(&mut self) {
        let frozen = self.frozen();
        if frozen.tables {
            let shards = self.set.tables.iter_mut().flat_map(|table| table.shards.values_mut());
            shards.for_each(|shard| shard.gradient.clear());
        }
        if frozen.dense {
            self.dense_gradient.fill(0.0);
        }
    }

    /// A run goes on from its own checkpoint as it began: the parent's updates, and what is frozen, are part of the job.
    pub(super) fn check_warm_start(&self, reader: &Reader) -> Result<(), checkpoint::Error> {
        let path = reader.file(MANIFEST_FILE);
        let job: JobSpec = config::parse(&reader.manifest.job, &path.display().to_string(), &[])
            .map_err(|error| checkpoint::Error::Manifest { path, problem: error.to_string() })?;
        if job.warm_start == self.job.warm_start {
            return Ok(());
        }
        let text = |warm: &Option<WarmStartSpec>| match warm {
            Some(warm) => {
                toml::to_string(warm).map_or_else(|error| error.to_string(), |text| text.replace('\n', "; "))
            }
            None => "absent".to_owned(),
        };
        Err(checkpoint::Error::Mismatch {
            what: "warm_start".to_owned(),
            found: text(&job.warm_start),
            expected: text(&self.job.warm_start),
        })
    }
}
