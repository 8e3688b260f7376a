//! The points that `muster calibrate` measures, as its file keeps them.
//!
//! A point says how long one call of a term took, of a shape and a size, while so many threads or ranks of the machine did the
//! same. Points are raw: how they are joined is the forecast's business.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::capacity::Phase;
use crate::config::reference::{Section, section};
use crate::config::{Problems, Spec};
use crate::job::OptimizerKind;
use crate::units::{self, ByteSize};

/// The form of the file; a change that would break a reader raises it.
pub const VERSION: u32 = 2;

crate::documented! {
    /// What was measured on a machine.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Calibration {
        /// Form of the file.
        pub version: u32,
        /// The machine's processor.
        pub machine: String,
        /// Its cores.
        pub cores: u32,
        /// When it was measured, UTC.
        pub date: String,
        /// Version of the program.
        pub muster: String,
        /// How the program was built: `release` or `debug`.
        pub build: String,
        /// What carried the ranks' messages.
        pub transport: String,
        /// Memory of a worker's process without a job.
        pub process: ByteSize,
        /// The points, term by term.
        pub terms: Vec<TermPoints>,
        /// Whole jobs, and what their steps took.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub trials: Vec<Trial>,
    }
}

crate::documented! {
    /// The points of a term.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct TermPoints {
        /// The term.
        pub term: Term,
        /// The optimizer, where the term is of one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub optimizer: Option<OptimizerKind>,
        /// The points.
        pub points: Vec<Point>,
    }
}

crate::documented! {
    /// One measured call.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Point {
        /// The shape, in the order of the term's axes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub at: Vec<f64>,
        /// The size, in the term's unit of work.
        pub size: f64,
        /// Threads, or ranks, that did the same at the same time.
        pub busy: u32,
        /// Time of the call.
        pub time: Elapsed,
    }
}

crate::documented! {
    /// A whole job that was trained here, to see what a step takes beside its terms: cold caches, new memory, waiting.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Trial {
        /// The job's name.
        pub job: String,
        /// Its workers.
        pub workers: u32,
        /// Values of the network's input and output of the rank that has most, in a step.
        pub activations: f64,
        /// The parts of a step.
        pub parts: Vec<TrialPart>,
        /// The most memory of each rank that its forecast comes to, in bytes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub forecast_bytes: Vec<u64>,
        /// The most memory that each rank had, in bytes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub peak_bytes: Vec<u64>,
    }
}

crate::documented! {
    /// A part of a trial's step.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct TrialPart {
        /// Its phase; what is of no phase where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub phase: Option<Phase>,
        /// What its terms come to.
        pub terms: Elapsed,
        /// What it took, averaged over steps and ranks, without what the machine's host gave to others.
        pub measured: Elapsed,
    }
}

/// A measured time, to the nanosecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elapsed(pub Duration);

impl Serialize for Elapsed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}us", self.0.as_nanos() as f64 / 1e3))
    }
}

impl<'de> Deserialize<'de> for Elapsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        units::duration::deserialize(deserializer).map(Self)
    }
}

/// A piece of a step, or of what is between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// A copy of memory.
    Copy,
    /// Choosing and packing a micro-batch.
    MakeBatch,
    /// Drawing negatives.
    DrawNegatives,
    /// Sorting ids and keeping one of each.
    Distinct,
    /// The ids of a lookup on their way to their owners.
    LookUpIds,
    /// Reading rows, for this rank and others, and laying them out.
    LookUpRead,
    /// The rows of a lookup on their way back.
    LookUpRows,
    /// Packing the network's weights for products.
    PackWeights,
    /// From looked-up rows to the network's input.
    Assemble,
    /// Dropout over some values.
    Dropout,
    /// The recurrence of an LSTM layer forward: products of the hidden state, and cells.
    LstmForward,
    /// The recurrence of an LSTM layer backward, with the gradient of its recurrent weights.
    LstmBackward,
    /// The product of a layer's input with its weights.
    InputForward,
    /// The gradients of a layer's input and of its input weights.
    InputBackward,
    /// A block of positions against a table shard, forward and backward.
    Softmax,
    /// All that a full softmax does beside its products: gathering, combining, giving gradients back.
    SoftmaxFrame,
    /// The dense gradients of a replicated table on their way to all ranks.
    ShareGradients,
    /// A micro-batch against sampled negatives, forward and backward.
    SampledSoftmax,
    /// Scores of one item a position and their gradients.
    Pointwise,
    /// Small words of all ranks to all.
    Words,
    /// The sum of dense gradients over micro-batches and ranks.
    SumGradients,
    /// Gradients of a micro-batch's looked-up rows, summed by row.
    RowGradients,
    /// Row gradients on their way to the owners.
    PushRows,
    /// Sums of row gradients in the shards.
    PushSum,
    /// An optimizer's update of all values.
    UpdateAll,
    /// An optimizer's update of touched rows.
    UpdateRows,
    /// A dense gradient of nothing, before a sparse one is added.
    Densify,
    /// A sparse gradient added to a dense one.
    AddRows,
    /// Squares and scaling of gradients, for clipping.
    Clip,
    /// Starting work on a rank's threads and waiting for it.
    ForkJoin,
    /// A piece of a checkpoint, encoded, digested and written.
    Checkpoint,
}

impl Term {
    /// All terms.
    pub const ALL: [Self; 31] = [
        Self::Copy,
        Self::MakeBatch,
        Self::DrawNegatives,
        Self::Distinct,
        Self::LookUpIds,
        Self::LookUpRead,
        Self::LookUpRows,
        Self::PackWeights,
        Self::Assemble,
        Self::Dropout,
        Self::LstmForward,
        Self::LstmBackward,
        Self::InputForward,
        Self::InputBackward,
        Self::Softmax,
        Self::SoftmaxFrame,
        Self::ShareGradients,
        Self::SampledSoftmax,
        Self::Pointwise,
        Self::Words,
        Self::SumGradients,
        Self::RowGradients,
        Self::PushRows,
        Self::PushSum,
        Self::UpdateAll,
        Self::UpdateRows,
        Self::Densify,
        Self::AddRows,
        Self::Clip,
        Self::ForkJoin,
        Self::Checkpoint,
    ];

    /// What the numbers of a point's shape are, and the unit of its size. A spread is one of [`spread`]'s numbers, a tail
    /// one of [`tail`]'s, and hidden columns that have one count as if their last vector were whole.
    #[must_use]
    pub const fn axes(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Copy | Self::Checkpoint => (&[], "bytes"),
            Self::MakeBatch => (&["columns"], "tokens"),
            Self::Distinct | Self::DrawNegatives => (&[], "ids"),
            Self::LookUpIds => (&["spread"], "ids of a rank"),
            Self::LookUpRows | Self::PushRows => (&["spread"], "values of a rank"),
            Self::LookUpRead | Self::PushSum => (&["dim", "spread"], "rows of a rank"),
            Self::PackWeights => (&[], "parameters"),
            Self::Assemble => (&["dim"], "tokens"),
            Self::RowGradients => (&["dim", "parts of the input"], "tokens"),
            Self::Dropout | Self::UpdateAll | Self::Densify | Self::Clip | Self::ShareGradients => {
                (&[], "values")
            }
            Self::LstmForward | Self::LstmBackward => (&["hidden", "sequences", "tail"], "tokens"),
            Self::InputForward | Self::InputBackward => (&["input", "hidden"], "tokens"),
            Self::Softmax => (&["dim", "positions"], "rows of the shard"),
            Self::SoftmaxFrame => (&["dim", "blocks", "spread"], "positions of all ranks"),
            Self::SampledSoftmax => (&["dim", "negatives"], "positions"),
            Self::Pointwise => (&["dim"], "positions"),
            Self::Words => (&[], "calls"),
            Self::SumGradients => (&["micro-batches of a rank"], "parameters"),
            Self::UpdateRows | Self::AddRows => (&["dim"], "rows"),
            Self::ForkJoin => (&["threads"], "calls"),
        }
    }

    /// Whether `busy` counts ranks of a job, not threads.
    #[must_use]
    pub const fn is_of_ranks(self) -> bool {
        matches!(
            self,
            Self::Distinct
                | Self::DrawNegatives
                | Self::LookUpIds
                | Self::LookUpRead
                | Self::LookUpRows
                | Self::PackWeights
                | Self::SoftmaxFrame
                | Self::ShareGradients
                | Self::Words
                | Self::SumGradients
                | Self::PushRows
                | Self::PushSum
                | Self::Clip
                | Self::ForkJoin
                | Self::Copy
                | Self::Checkpoint
        )
    }
}

/// How a table lies on ranks, as a number of a point's shape.
pub mod spread {
    /// One rank has all of it.
    pub const ONE: f64 = 1.0;
    /// Each rank has a share.
    pub const SHARED: f64 = 2.0;
    /// Each rank has all of it.
    pub const REPLICATED: f64 = 3.0;
}

/// Whether the columns of a matrix end within a vector, as a number of a point's shape: the last ones are then copied to and
/// fro, and cost more than others.
pub mod tail {
    /// Columns of the vectors that all machines' vectors divide.
    pub const VECTOR: u32 = 16;
    /// All vectors are whole.
    pub const NONE: f64 = 1.0;
    /// The last one is not.
    pub const SOME: f64 = 2.0;

    /// The columns with those that the last vector lacks, and the number of the shape.
    #[must_use]
    pub fn of(columns: u32) -> (f64, f64) {
        let whole = columns.next_multiple_of(VECTOR);
        (f64::from(whole), if whole == columns { NONE } else { SOME })
    }
}

/// The tables of a calibration file, for its reference page.
pub const SECTIONS: &[Section] = &[
    section::<Calibration>(""),
    section::<TermPoints>("terms[]"),
    section::<Point>("terms[].points[]"),
    section::<Trial>("trials[]"),
    section::<TrialPart>("trials[].parts[]"),
];

impl Spec for Calibration {
    fn validate(&self, problems: &mut Problems) {
        problems.check(self.version == VERSION, "version", || {
            format!("is {}, this program reads {VERSION}; measure again with muster calibrate", self.version)
        });
        problems.check(self.cores > 0, "cores", || "is 0, a machine has at least 1");
        for (idx, term) in self.terms.iter().enumerate() {
            problems.within(&format!("terms.{idx}"), |p| term.validate(p));
        }
        for (idx, trial) in self.trials.iter().enumerate() {
            problems.within(&format!("trials.{idx}"), |p| trial.validate(p));
        }
    }
}

impl Trial {
    fn validate(&self, p: &mut Problems) {
        p.check(self.workers > 0, "workers", || "is 0, somebody trained the job");
        let known = |value: f64| value.is_finite() && value >= 0.0;
        p.check(known(self.activations), "activations", || "must be 0 or more");
        p.check(!self.parts.is_empty(), "parts", || "is empty, a step has parts");
    }
}

impl TermPoints {
    fn validate(&self, p: &mut Problems) {
        let (axes, _) = self.term.axes();
        for (idx, point) in self.points.iter().enumerate() {
            p.within(&format!("points.{idx}"), |p| {
                p.check(point.at.len() == axes.len(), "at", || {
                    format!("has {} numbers, the term needs: {}", point.at.len(), axes.join(", "))
                });
                let positive = |value: &f64| value.is_finite() && *value > 0.0;
                p.check(point.at.iter().all(positive), "at", || "needs numbers above 0");
                p.check(positive(&point.size), "size", || "must be above 0");
                p.check(point.busy > 0, "busy", || "is 0, somebody did the work");
                p.check(!point.time.0.is_zero(), "time", || "is 0, nothing takes no time");
            });
        }
        p.check(!self.points.is_empty(), "points", || "is empty, a term needs points");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::reference::undocumented;

    const GOOD: &str = "version = 2\nmachine = \"m\"\ncores = 2\ndate = \"2026-11-28T10:00:00Z\"\nmuster = \"0.1.0\"\n\
        build = \"release\"\ntransport = \"auto\"\nprocess = \"20 MiB\"\n[[terms]]\nterm = \"lstm_forward\"\n\
        points = [{ at = [64.0, 8.0, 1.0], size = 400.0, busy = 1, time = \"1.5ms\" }]\n[[terms]]\nterm = \"update_all\"\n\
        optimizer = \"adam\"\npoints = [{ size = 9.0, busy = 2, time = \"0.125us\" }]\n[[trials]]\njob = \"a\"\nworkers = 2\nactivations = 100.0\nforecast_bytes = [5, 6]\npeak_bytes = [7, 8]\n\
        parts = [{ phase = \"dense\", terms = \"1ms\", measured = \"2ms\" }, { terms = \"0us\", measured = \"1us\" }]\n";

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        parse::<Calibration>(&GOOD.replace(from, to), "c.toml", &[]).unwrap_err().to_string()
    }

    #[test]
    fn points_are_read_as_they_were_written_to_the_nanosecond() {
        let calibration: Calibration = parse(GOOD, "c.toml", &[]).unwrap();
        assert_eq!(calibration.terms[1].points[0].time, Elapsed(Duration::from_nanos(125)));
        let text = toml::to_string(&calibration).unwrap();
        assert_eq!(parse::<Calibration>(&text, "again.toml", &[]).unwrap(), calibration);
    }

    #[test]
    fn what_cannot_be_a_point_is_named_with_its_place() {
        let problem = refused("[64.0, 8.0, 1.0]", "[64.0]");
        assert!(
            problem.contains("terms.0.points.0.at: has 1 numbers, the term needs: hidden, sequences, tail"),
            "{problem}"
        );
        assert!(refused("busy = 1", "busy = 0").contains("terms.0.points.0.busy: is 0"));
        assert!(refused("1.5ms", "0us").contains("terms.0.points.0.time: is 0"));
        assert!(refused("size = 9.0", "size = -9.0").contains("terms.1.points.0.size: must be above 0"));
        assert!(refused("version = 2", "version = 7").contains("this program reads 2"));
        assert!(refused("lstm_forward", "lstm_forwards").contains("did you mean `lstm_forward`?"));
        assert!(refused("workers = 2", "workers = 0").contains("trials.0.workers: is 0"));
        assert!(refused("cores = 2", "cores = 2\ncors = 3").contains("cors"));
    }

    #[test]
    fn every_key_of_a_calibration_is_on_the_reference_page() {
        let calibration: Calibration = parse(GOOD, "c.toml", &[]).unwrap();
        assert_eq!(undocumented(SECTIONS, &calibration).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn every_term_is_listed_once() {
        let mut terms = Term::ALL.to_vec();
        terms.sort_unstable();
        terms.dedup();
        assert_eq!(terms.len(), Term::ALL.len());
    }
}
