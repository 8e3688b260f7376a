//! A folder with input files and a spec, and what comes out of it.

use std::path::{Path, PathBuf};

use muster_data::{Dataset, PrepareArgs, Split, prepare};
use muster_proto::config;
use muster_proto::dataset::{DatasetManifest, DatasetSpec};

use crate::spread;

/// A temporary folder with inputs; datasets appear in it.
pub(crate) struct Folder(tempfile::TempDir);

pub(crate) const CSV: &str = "name = \"log\"\ninput = \"log.csv\"\nformat = \"csv\"\npartitions = 4\n\
    [columns]\nuser = \"user\"\nitem = \"item\"\ntime = \"time\"\n";

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A folder with one input file.
    pub(crate) fn with(name: &str, content: impl AsRef<[u8]>) -> Self {
        let folder = Self::new();
        folder.write(name, content);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), content).expect("a writable temporary folder");
    }

    /// Prepares with a spec into `out`; whatever comes of it also comes of workers that the work is spread over.
    pub(crate) fn prepare(&self, spec: &str) -> Result<DatasetManifest, prepare::Error> {
        let made = self.prepare_with(spec, &self.out(), 2);
        // What stands in the way here does not elsewhere.
        if !matches!(made, Err(prepare::Error::OutputOccupied { .. })) {
            spread::assert_same(&made, &self.out(), (spec, self.path()));
        }
        made
    }

    pub(crate) fn prepare_with(
        &self,
        spec: &str,
        out: &Path,
        threads: usize,
    ) -> Result<DatasetManifest, prepare::Error> {
        let spec: DatasetSpec = config::parse(spec, "dataset.toml", &[]).expect("a valid spec");
        prepare(&PrepareArgs { spec: &spec, base: self.path(), out, threads, variables: &|_| None })
    }

    /// The error of a preparation that must fail, and must leave nothing behind.
    pub(crate) fn refused(&self, spec: &str) -> String {
        let before = names(self.path());
        let error = self.prepare(spec).expect_err("a preparation that fails");
        assert_eq!(names(self.path()), before, "a failed preparation left something behind");
        error.to_string()
    }

    pub(crate) fn open(&self) -> Dataset {
        Dataset::open(&self.out()).expect("a dataset")
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a readable folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// All sequences of a dataset as `user: item item ...`, sorted by user.
pub(crate) fn sequences(dataset: &Dataset) -> Vec<String> {
    let items = dataset.load_items().expect("items");
    let mut lines = Vec::new();
    for index in 0..dataset.manifest().partitions.len() as u32 {
        let partition = dataset.load(index).expect("a partition");
        for user in 0..partition.users() {
            let keys: Vec<&str> =
                partition.items[partition.range(user)].iter().map(|item| items.key(*item)).collect();
            lines.push(format!("{}: {}", partition.user_key(user), keys.join(" ")));
        }
    }
    lines.sort();
    lines
}

/// The held-out item of each user that has one.
pub(crate) fn targets(dataset: &Dataset, split: Split) -> Vec<String> {
    let items = dataset.load_items().expect("items");
    let mut lines = Vec::new();
    for index in 0..dataset.manifest().partitions.len() as u32 {
        let partition = dataset.load(index).expect("a partition");
        for user in 0..partition.users() {
            if let Some(held_out) = partition.held_out(user, split) {
                let target = items.key(partition.items[held_out.target]);
                lines.push(format!(
                    "{}: {target} after {}",
                    partition.user_key(user),
                    held_out.history.len()
                ));
            }
        }
    }
    lines.sort();
    lines
}

/// The bytes of all files of a dataset by name.
pub(crate) fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    names(dir)
        .into_iter()
        .map(|name| (name.clone(), std::fs::read(dir.join(&name)).expect("a file")))
        .collect()
}
