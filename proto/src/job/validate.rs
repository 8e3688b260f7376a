//! The rules across a job's fields.

mod tables;

use super::{FeatureSpec, Head, JobSpec, ModelSpec, Normalize, OptimizerSpec};
use crate::config::{Problems, Spec};
use crate::job::Combine;

/// Largest table dimension, hidden size and projection.
const MAX_WIDTH: u32 = 16_384;
/// Most LSTM layers.
const MAX_LAYERS: u32 = 16;
/// Most micro-batches and row blocks.
const MAX_PIECES: u32 = 4096;

impl Spec for JobSpec {
    fn validate(&self, problems: &mut Problems) {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        problems.check(
            !self.name.is_empty() && self.name.len() <= 64 && self.name.chars().all(legal),
            "name",
            || "must be 1 to 64 letters, digits, '-' or '_'",
        );
        problems.within("batch", |p| self.validate_batch(p));
        problems.within("model", |p| self.model.validate(p));
        problems.within("optimizer", |p| {
            self.optimizer.validate(p);
            p.check(
                !self.optimizer.kind.for_tables_only(),
                "kind",
                || "is for embedding tables only; set it under [table_optimizer]",
            );
        });
        if let Some(optimizer) = &self.table_optimizer {
            problems.within("table_optimizer", |p| optimizer.validate(p));
        }
        problems.check(
            (0.0..=1.0).contains(&self.schedule.final_ratio),
            "schedule.final_ratio",
            || "must be between 0 and 1",
        );
        problems.within("training", |p| self.validate_training(p));
        problems.check(!self.evaluation.ks.is_empty(), "evaluation.ks", || "needs at least one list length");
        problems.check(
            self.evaluation.ks.iter().all(|k| (1..=1000).contains(k)),
            "evaluation.ks",
            || "list lengths must be between 1 and 1000",
        );
        problems.within("tables", |p| self.validate_tables(p));
        problems.check(self.checkpoint.every_epochs > 0, "checkpoint.every_epochs", || "must be at least 1");
        problems.check(
            self.checkpoint.every_steps != Some(0),
            "checkpoint.every_steps",
            || "must be at least 1",
        );
        problems.check(
            self.checkpoint.location.as_deref().is_none_or(|url| bucket_of(url).is_some()),
            "checkpoint.location",
            || "must be the URL of an object store, s3://BUCKET/PREFIX; leave it out for the run directory",
        );
        problems.check(
            (0.0..=1.0).contains(&self.checkpoint.incremental_below),
            "checkpoint.incremental_below",
            || "must be between 0 and 1",
        );
        problems.check(self.checkpoint.keep > 0, "checkpoint.keep", || "must be at least 1");
        if let Some(warm) = &self.warm_start {
            problems.within("warm_start", |p| warm.validate(p));
        }
    }
}

/// The bucket of `s3://BUCKET/PREFIX`.
fn bucket_of(url: &str) -> Option<&str> {
    url.strip_prefix("s3://")?.split('/').next().filter(|bucket| !bucket.is_empty())
}

impl JobSpec {
    fn validate_batch(&self, p: &mut Problems) {
        let batch = &self.batch;
        p.check((1..=1 << 20).contains(&batch.sequences), "sequences", || "must be between 1 and 1048576");
        p.check((1..=MAX_PIECES).contains(&batch.micro_batches), "micro_batches", || {
            format!("must be between 1 and {MAX_PIECES}")
        });
        p.check((1..=65_536).contains(&batch.max_len), "max_len", || "must be between 1 and 65536");
        p.check((1..=65_536).contains(&batch.score_block), "score_block", || "must be between 1 and 65536");
    }

    fn validate_training(&self, p: &mut Problems) {
        let training = &self.training;
        p.check(training.epochs > 0, "epochs", || "must be at least 1");
        p.check(training.max_steps != Some(0), "max_steps", || "must be at least 1");
        p.check(training.validate_every > 0, "validate_every", || "must be at least 1");
        p.check(training.log_every > 0, "log_every", || "must be at least 1");
        p.check(
            training.clip_norm.is_none_or(|norm| norm > 0.0 && norm.is_finite()),
            "clip_norm",
            || "must be a positive number",
        );
        if let Some(stopping) = &training.early_stopping {
            p.check(stopping.patience > 0, "early_stopping.patience", || "must be at least 1");
        }
    }
}

impl ModelSpec {
    fn validate(&self, p: &mut Problems) {
        let width = || format!("must be between 1 and {MAX_WIDTH}");
        p.check((1..=MAX_WIDTH).contains(&self.embedding_dim), "embedding_dim", width);
        p.check((1..=MAX_WIDTH).contains(&self.hidden_size), "hidden_size", width);
        p.check((1..=MAX_LAYERS).contains(&self.layers), "layers", || {
            format!("must be between 1 and {MAX_LAYERS}")
        });
        p.check(self.projection.is_none_or(|n| (1..=MAX_WIDTH).contains(&n)), "projection", width);
        p.check(self.init_std > 0.0 && self.init_std.is_finite(), "init_std", || "must be a positive number");
        for (field, share) in [
            ("dropout_embedding", self.dropout_embedding),
            ("dropout_layers", self.dropout_layers),
            ("dropout_output", self.dropout_output),
        ] {
            p.check((0.0..1.0).contains(&share), field, || "must be at least 0 and below 1");
        }
        if let Normalize::Constant(constant) = self.normalize {
            p.check(constant > 0.0 && constant.is_finite(), "normalize", || "must be a positive number");
        }
        for (i, feature) in self.features.iter().enumerate() {
            p.within(&format!("features[{i}]"), |p| self.validate_feature(feature, p));
        }
        if self.head.tied() {
            p.check(self.head_input() == self.embedding_dim, "head", || {
                format!(
                    "a tied head scores {} columns against an item table of {}; set model.projection = {} or tied = false",
                    self.head_input(),
                    self.embedding_dim,
                    self.embedding_dim
                )
            });
        }
        if let Head::SampledSoftmax { negatives, alpha, .. } = &self.head {
            p.check(
                (1..=1 << 20).contains(negatives),
                "head.sampled_softmax.negatives",
                || "must be between 1 and 1048576",
            );
            p.check((0.0..=1.0).contains(alpha), "head.sampled_softmax.alpha", || "must be between 0 and 1");
        }
    }

    fn validate_feature(&self, feature: &FeatureSpec, p: &mut Problems) {
        p.check(feature.dim != Some(0), "dim", || "must be at least 1");
        p.check(
            !["item", "output"].contains(&feature.column.as_str()),
            "column",
            || "is the name of a table of the model; choose another column",
        );
        if self.combine == Combine::Add {
            p.check(feature.dim == Some(self.embedding_dim), "dim", || {
                format!("must be {} (model.embedding_dim) when model.combine = \"add\"", self.embedding_dim)
            });
        }
    }
}

impl OptimizerSpec {
    fn validate(&self, p: &mut Problems) {
        p.check(self.lr >= 0.0 && self.lr.is_finite(), "lr", || "must be a number of at least 0");
        p.check((0.0..1.0).contains(&self.beta1), "beta1", || "must be at least 0 and below 1");
        p.check((0.0..1.0).contains(&self.beta2), "beta2", || "must be at least 0 and below 1");
        p.check(self.eps > 0.0 && self.eps.is_finite(), "eps", || "must be a positive number");
        p.check((0.0..1.0).contains(&self.momentum), "momentum", || "must be at least 0 and below 1");
        p.check(
            self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
            "weight_decay",
            || "must be a number of at least 0",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;
    use crate::job::JobSpec;

    #[test]
    fn every_broken_rule_of_a_job_is_reported_at_once_with_its_line() {
        let text = "name = \"a b\"\n[batch]\nsequences = 0\n[model]\nhidden_size = 64\ndropout_output = 1.5\n[training]\nepochs = 0\n";
        let error = parse::<JobSpec>(text, "job.toml", &[]).unwrap_err().to_string();
        for part in [
            "job.toml:1: name",
            "job.toml:3: batch.sequences",
            "job.toml:6: model.dropout_output",
            "training.epochs",
            "tied head",
        ] {
            assert!(error.contains(part), "{part} is not in:\n{error}");
        }
    }

    #[test]
    fn an_unknown_key_comes_with_a_suggestion() {
        let error = parse::<JobSpec>("name = \"a\"\n[model]\nhiden_size = 3\n", "job.toml", &[]).unwrap_err();
        assert!(error.to_string().contains("hidden_size"), "{error}");
    }

    #[test]
    fn a_job_reads_back_as_it_was_written() {
        let text = "name = \"a\"\n[model.head.sampled_softmax]\nnegatives = 9\n[model.normalize]\nconstant = 750.0\n";
        let job: JobSpec = parse(text, "job.toml", &[]).unwrap();
        let again: JobSpec = parse(&toml::to_string(&job).unwrap(), "again.toml", &[]).unwrap();
        assert_eq!(job, again);
    }
}
