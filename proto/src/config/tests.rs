//! What the loader reports, and where it says the problem is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::*;
use crate::units::{self, ByteSize};

crate::documented! {
    /// A job.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Job {
        /// Its name.
        pub name: String,
        /// Samples per step.
        #[serde(default)]
        pub batch: u32,
        /// The model.
        #[serde(default)]
        pub model: Model,
        /// The tables.
        #[serde(default)]
        pub tables: Vec<Table>,
        /// More.
        #[serde(default)]
        pub extra: BTreeMap<String, f32>,
    }
}

crate::documented! {
    /// A model.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub(super) struct Model {
        /// Width of the state.
        pub hidden: usize,
        /// Share of dropped values.
        pub dropout: f32,
        /// What is minimized.
        pub loss: Loss,
        /// Deadline.
        #[serde(with = "units::duration")]
        pub deadline: Duration,
        /// Room.
        pub memory: ByteSize,
    }
}

crate::documented! {
    /// A table.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Table {
        /// Rows.
        pub rows: u32,
        /// Columns.
        pub dim: u16,
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Loss {
    Softmax,
    Sampled { negatives: u32 },
}

impl Default for Model {
    fn default() -> Self {
        Self {
            hidden: 128,
            dropout: 0.0,
            loss: Loss::Softmax,
            deadline: Duration::from_secs(5),
            memory: ByteSize::from_mib(64),
        }
    }
}

impl Spec for Job {
    fn validate(&self, problems: &mut Problems) {
        problems.check(!self.name.is_empty(), "name", || "is empty");
        problems.within("model", |problems| {
            problems.check((0.0..1.0).contains(&self.model.dropout), "dropout", || {
                format!("{} is not in 0..1", self.model.dropout)
            });
        });
    }
}

fn problems(text: &str, sets: &[&str]) -> Vec<String> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    match parse::<Job>(text, "job.toml", &sets).unwrap_err() {
        error @ Error::Invalid { .. } => error.to_string().lines().map(str::to_owned).collect(),
        error => panic!("{error}"),
    }
}

#[test]
fn a_valid_file_gives_the_spec() {
    let text = "name = \"a\"\n[model]\nhidden = 64\nloss = { sampled = { negatives = 5 } }\n\
                deadline = \"2s\"\nmemory = \"1 GiB\"\n[[tables]]\nrows = 3\ndim = 4\n[extra]\nx = 1\n";
    let job: Job = parse(text, "job.toml", &[]).unwrap();
    assert_eq!(job.model.loss, Loss::Sampled { negatives: 5 });
    assert_eq!((job.model.deadline, job.model.memory.bytes()), (Duration::from_secs(2), 1 << 30));
    assert_eq!((job.tables[0].rows, job.extra["x"]), (3, 1.0));
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let text = "name = 3\nbatch = -1\nbacth = 4\n[model]\nhidden = \"big\"\ndropout = 1.5\n\
                loss = \"sofmax\"\ndeadline = 5\nmemory = \"lots\"\n[[tables]]\nrows = 3\n[[tables]]\nrow = 1\ndim = 70000\n";
    assert_eq!(
        problems(text, &[]),
        [
            "job.toml:1: name: expected a string, found integer `3`",
            "job.toml:2: batch: expected a whole number from 0 to 4294967295, found integer `-1`",
            "job.toml:3: bacth: unknown key `bacth`, did you mean `batch`?",
            "job.toml:5: model.hidden: expected a whole number, 0 or more, found string \"big\"",
            "job.toml:7: model.loss: unknown value `sofmax`, did you mean `softmax`?",
            "job.toml:8: model.deadline: expected a duration with its unit such as \"5s\", found integer `5`",
            "job.toml:9: model.memory: `lots` is not a size, write for instance \"64 MiB\" or \"2 GB\"",
            "job.toml:10: tables.0.dim: is required and missing",
            "job.toml:12: tables.1.rows: is required and missing",
            "job.toml:13: tables.1.row: unknown key `row`, did you mean `rows`?",
            "job.toml:14: tables.1.dim: expected a whole number from 0 to 65535, found integer `70000`",
        ]
    );
}

#[test]
fn rules_across_fields_come_with_the_line_of_their_field() {
    assert_eq!(
        problems("name = \"\"\nmodel = { dropout = 1.0 }\nunknown = 1\n", &[]),
        [
            "job.toml:1: name: is empty",
            "job.toml:2: model.dropout: 1 is not in 0..1",
            "job.toml:3: unknown: unknown key `unknown`, known are: name, batch, model, tables, extra",
        ]
    );
}

#[test]
fn an_override_replaces_adds_and_reaches_into_arrays() {
    let text = "name = \"a\"\n[[tables]]\nrows = 3\ndim = 4\n";
    let sets = ["name=plain text", "model.hidden=7", "tables.0.rows=9", "extra.y=0.5", "model.loss=softmax"];
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let job: Job = parse(text, "job.toml", &sets).unwrap();
    assert_eq!((job.name.as_str(), job.model.hidden, job.tables[0].rows), ("plain text", 7, 9));
    assert_eq!(job.extra["y"], 0.5);
}

#[test]
fn a_bad_override_is_a_problem_without_a_line() {
    assert_eq!(
        problems("name = \"a\"\nbatch = 2\n", &["nothing", "batch.x=1", "tables=3", "model.hiden=2"]),
        [
            "job.toml: --set: `nothing` has no `=`, write key.path=VALUE",
            "job.toml: batch: --set: `batch` is a value and has no `x`",
            "job.toml: tables: expected an array, found integer `3`",
            "job.toml: model.hiden: unknown key `hiden`, did you mean `hidden`?",
        ]
    );
}

#[test]
fn a_missing_key_at_the_root_has_no_line() {
    assert_eq!(problems("batch = 2\n", &[]), ["job.toml: name: is required and missing"]);
}

#[test]
fn text_that_is_not_toml_names_the_line() {
    let error = parse::<Job>("name = \"a\"\nbatch = = 2\n", "job.toml", &[]).unwrap_err();
    assert!(error.to_string().starts_with("job.toml:2: "), "{error}");
    let error = parse::<Job>("name = \"a\"\nname = \"b\"\n", "job.toml", &[]).unwrap_err();
    assert!(error.to_string().starts_with("job.toml:2: duplicate key"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load::<Job>(Path::new("/nowhere/job.toml"), &[]).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/job.toml");
}

#[test]
fn the_reference_page_lists_every_key_with_its_default() {
    let job = Job {
        name: "a".into(),
        batch: 1,
        model: Model::default(),
        tables: vec![Table { rows: 1, dim: 2 }],
        extra: BTreeMap::new(),
    };
    let sections = [
        reference::section::<Job>(""),
        reference::section::<Model>("model"),
        reference::section::<Table>("tables[]"),
    ];
    let page = reference::page("Job", &sections, &job).unwrap();
    assert!(page.contains("| `hidden` | whole number | `128` | Width of the state. |"), "{page}");
    assert!(page.contains("| `deadline` | duration such as \"5s\" | `\"5s\"` | Deadline. |"), "{page}");
    assert_eq!(reference::undocumented(&sections, &job).unwrap(), Vec::<String>::new());
    assert_eq!(reference::undocumented(&sections[..1], &job).unwrap(), ["model", "tables[]"]);
}
