//! Why logs cannot be prepared: names the file, the line and the column, and what to change.

use std::path::{Path, PathBuf};

use muster_proto::dataset::{CleaningReport, SourceSpec};
use muster_proto::units::ByteSize;

use super::Window;

/// Why logs cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path names an environment variable that is not set.
    #[error(
        "input {path} needs the environment variable {name}, which is not set: \
         set it, or name the file with --set input=FILE{}",
        describe(source_spec)
    )]
    Variable {
        /// The variable.
        name: String,
        /// The path as it is written.
        path: String,
        /// Where the file comes from.
        source_spec: Box<SourceSpec>,
    },
    /// A path has a `${` without its `}`.
    #[error("input {path} has `${{` without `}}`")]
    Unclosed {
        /// The path as it is written.
        path: String,
    },
    /// An input file is not there.
    #[error("input {} does not exist: name another with --set input=FILE{}", path.display(), describe(source_spec))]
    NotFound {
        /// The file.
        path: PathBuf,
        /// Where the file comes from.
        source_spec: Box<SourceSpec>,
    },
    /// A folder or a pattern stands for no file.
    #[error("input {} stands for no file", path.display())]
    NoFiles {
        /// The folder or pattern.
        path: PathBuf,
    },
    /// A folder contains itself.
    #[error(
        "input folder {} is a link to {}, which contains it: remove the link, or name the files", path.display(),
        target.display()
    )]
    Loop {
        /// The folder, as it was reached.
        path: PathBuf,
        /// What it really is.
        target: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A column that the spec names is not in the file.
    #[error("{}: there is no column `{column}`, the file has: {known}", path.display())]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The columns there are.
        known: String,
    },
    /// A column name occurs twice in the file.
    #[error("{}: column `{column}` occurs twice", path.display())]
    ColumnTwice {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A row cannot be taken apart.
    #[error("{}:{line}: {what}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, of Parquet the row, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A value cannot be used.
    #[error(
        "{}:{line}: column `{column}`: {what}; `cleaning.on_invalid = \"drop\"` drops such rows",
        path.display()
    )]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, of Parquet the row, from 1.
        line: u64,
        /// The column.
        column: String,
        /// What is wrong with the value.
        what: String,
    },
    /// The file is not what its format says.
    #[error("{} is not a whole {format} file: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// What its reader found.
        what: String,
    },
    /// There are no rows at all.
    #[error("{files} holds no rows")]
    Empty {
        /// The input files.
        files: String,
    },
    /// Cleaning left nothing.
    #[error("no event is left of {} rows, dropped were: {}; loosen [cleaning]", report.rows_in, dropped(report))]
    NothingLeft {
        /// What cleaning did.
        report: CleaningReport,
    },
    /// A window has no row.
    #[error("none of {outside} rows is in the window {window}: are its files there, and are its ends right?")]
    NothingInWindow {
        /// The window.
        window: Window,
        /// Rows of other times.
        outside: u64,
    },
    /// A window is asked for of a log without times.
    #[error("rows have no times to tell which are in a window: name a column in `columns.time`")]
    Timeless,
    /// A base does not have so many increments.
    #[error("base {} has {found} increments, {wanted} are asked for: has it been begun anew?", path.display())]
    FewIncrements {
        /// The base's folder.
        path: PathBuf,
        /// How many it has.
        found: u64,
        /// How many are asked for.
        wanted: u64,
    },
    /// A split by time begins before all events.
    #[error(
        "no event is before `split.valid_from` ({valid_from}), the first is at {first}: nothing is left to train on"
    )]
    NothingToTrain {
        /// Where validation begins.
        valid_from: String,
        /// The first time that is left.
        first: String,
    },
    /// There are more distinct values than ids.
    #[error("column `{column}` has more than {limit} distinct values; {hint}")]
    TooManyValues {
        /// The column.
        column: String,
        /// How many there may be.
        limit: u32,
        /// What to change.
        hint: &'static str,
    },
    /// A log partition is over what a partition can hold.
    #[error("log partition {partition} has {events} events, over 2^32; raise `partitions`")]
    PartitionTooLarge {
        /// The partition.
        partition: usize,
        /// Its events.
        events: u64,
    },
    /// The memory does not hold one partition.
    #[error(
        "`memory` = {memory} does not hold a log partition: {needed} are needed with {partitions} of them; raise \
         `partitions`, or `memory`"
    )]
    Memory {
        /// The bound.
        memory: ByteSize,
        /// What would do.
        needed: ByteSize,
        /// The partitions there are.
        partitions: u32,
    },
    /// A base is being added to.
    #[error("another process adds to {}: wait for it, or name another folder", path.display())]
    Busy {
        /// The base's folder.
        path: PathBuf,
    },
    /// A base is not whole, or not there.
    #[error("base {}: {what}", path.display())]
    Base {
        /// The base's folder or a file of it.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The rows of a base were read by other rules.
    #[error("the base was read with other values of {keys}: use those, or begin another base")]
    OtherReading {
        /// The keys of the dataset file.
        keys: String,
    },
    /// An input file of a base is not what it was.
    #[error(
        "{} has {found}, {expected} when it was added: files of a base must not change; give what is new a name of its own",
        path.display()
    )]
    InputChanged {
        /// The file.
        path: PathBuf,
        /// Its size, or its digest, now.
        found: String,
        /// The same when it was added.
        expected: String,
    },
    /// An input file became another one while it was added.
    #[error(
        "{} changed while it was read, nothing was added: let files have their names only once they are whole, and add \
         it again", path.display()
    )]
    InputUnsteady {
        /// The file.
        path: PathBuf,
    },
    /// A dataset cannot be the parent of another.
    #[error("{} cannot be the parent: {what}", path.display())]
    Parent {
        /// The parent's folder.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// What workers of a cluster hand to each other is not whole.
    #[error("{}: {what}; is the folder shared by all workers?", path.display())]
    Shared {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A worker of a cluster found an error in its share.
    #[error("{}", told.message)]
    Told {
        /// What it said.
        told: Box<Told>,
    },
    /// The workers of a cluster cannot be had, or do not come to an end.
    #[error("the work could not be spread over workers: {what}")]
    Dealing {
        /// What became of it.
        what: String,
    },
    /// It was told to stop.
    #[error("stopped on request; nothing was left behind")]
    Stopped,
    /// The output folder is in use for something else.
    #[error("{} exists and is not a dataset: name another folder, or remove it", path.display())]
    OutputOccupied {
        /// The folder.
        path: PathBuf,
    },
    /// Something cannot be written.
    #[error("cannot write {}: {source}; nothing was left behind", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Arrow or JSON refused what was to be written: a defect of this program.
    #[error("cannot encode {file}: {what}")]
    Encode {
        /// The file.
        file: String,
        /// What the encoder said.
        what: String,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {what}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the pool said.
        what: String,
    },
}

mod told;

pub use told::{Place, Told};

/// Bytes of a list of columns that an error shows.
const LONGEST_LIST: usize = 1000;

impl Error {
    /// A column is not in a file that has others, the first of which are told.
    pub(crate) fn no_column(path: &Path, column: &str, mut known: String) -> Self {
        if known.len() > LONGEST_LIST {
            known.truncate(known.floor_char_boundary(LONGEST_LIST));
            known.push_str(" and more");
        }
        Self::NoColumn { path: path.to_owned(), column: column.to_owned(), known }
    }

    /// Whether the error is about one input file as a whole, so that the others can count without it.
    pub(super) fn is_of_a_file(&self) -> bool {
        match self {
            Self::Told { told } => told.is_of_a_file,
            Self::Read { .. } | Self::Format { .. } | Self::NoColumn { .. } | Self::ColumnTwice { .. } => {
                true
            }
            _ => false,
        }
    }
}

fn describe(source: &SourceSpec) -> String {
    let mut text = String::new();
    for (label, value) in
        [("what it is", &source.about), ("where to get it", &source.get), ("licence", &source.licence)]
    {
        if !value.is_empty() {
            text.push_str(&format!("\n  {label}: {value}"));
        }
    }
    text
}

fn dropped(report: &CleaningReport) -> String {
    let rules: Vec<String> = report.dropped.iter().map(|(rule, rows)| format!("{rule} {rows}")).collect();
    rules.join(", ")
}
