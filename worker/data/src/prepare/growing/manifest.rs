//! What a base holds, and how its rows were read.

use std::collections::BTreeMap;

use muster_proto::dataset::{CleaningReport, CleaningSpec, DatasetSpec, FileEntry, Inputs, SequencesSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::prepare::error::Error;

/// The manifest of a base.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    schema_version: u32,
    /// The keys of the dataset file that say how rows are read; the same for all increments and cuts.
    reading: BTreeMap<String, Value>,
    /// Names of the numeric columns, patterns expanded.
    pub(super) numeric: Vec<String>,
    pub(super) increments: Vec<Increment>,
    /// BLAKE3 of this manifest with this field empty.
    digest: String,
}

/// What was added at a time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Increment {
    /// Its folder.
    pub(super) folder: String,
    pub(super) report: CleaningReport,
    /// The input files that count in it.
    pub(super) inputs: Vec<Input>,
    /// Records by log partition; those without any have no file.
    pub(super) records: Vec<Option<FileEntry>>,
    pub(super) items: FileEntry,
    pub(super) categories: Vec<FileEntry>,
    /// The first time of an event, and the last; none without times, and in increments from before they were noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<(i64, i64)>,
    /// For whom it was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
}

impl Increment {
    /// The input file of a name, if it is in the increment.
    pub(super) fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }

    /// Rows that became events.
    pub(super) fn events(&self) -> u64 {
        self.report.rows_in - self.report.dropped.values().sum::<u64>()
    }
}

/// An input file that is in the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// The digest of its bytes; none in increments that were added before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    /// What its file system or store said of it; where that is the same, it need not be read to be known again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stamp: Option<String>,
}

impl Manifest {
    const VERSION: u32 = 2;
    /// In bases of version 1 files have no digests, and increments no times; all else is the same.
    const OLDEST: u32 = 1;

    pub(super) fn new(spec: &DatasetSpec, numeric: Vec<String>) -> Result<Self, Error> {
        let reading = keys_of_reading(spec)?;
        Ok(Self {
            schema_version: Self::VERSION,
            reading,
            numeric,
            increments: vec![],
            digest: String::new(),
        })
    }

    /// # Errors
    /// The keys in which a dataset file reads rows otherwise than the base was read.
    pub(super) fn check_reading(&self, spec: &DatasetSpec) -> Result<(), Error> {
        let reading = keys_of_reading(spec)?;
        let keys: std::collections::BTreeSet<&String> = self.reading.keys().chain(reading.keys()).collect();
        let differing: Vec<&str> = keys
            .into_iter()
            .filter(|key| self.reading.get(*key) != reading.get(*key))
            .map(String::as_str)
            .collect();
        if differing.is_empty() { Ok(()) } else { Err(Error::OtherReading { keys: differing.join(", ") }) }
    }

    /// The input file of a name, if it is in the base.
    pub(super) fn input(&self, name: &str) -> Option<&Input> {
        self.increments.iter().find_map(|increment| increment.input(name))
    }

    /// Notes what is said by now of an input file that is the same.
    pub(super) fn restamp(&mut self, name: &str, stamp: String) {
        let mut inputs = self.increments.iter_mut().flat_map(|increment| &mut increment.inputs);
        if let Some(input) = inputs.find(|input| input.name == name) {
            input.stamp = Some(stamp);
        }
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let versions = Self::OLDEST..=Self::VERSION;
        if !versions.contains(&manifest.schema_version) {
            let (found, last) = (manifest.schema_version, versions.end());
            return Err(format!("has version {found}, this muster reads {} to {last}", versions.start()));
        }
        let found = manifest.own_digest().map_err(|error| error.to_string())?;
        if found == manifest.digest {
            Ok(manifest)
        } else {
            Err("was changed after it was written".to_owned())
        }
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, Error> {
        let current = Self { schema_version: Self::VERSION, ..self.clone() };
        let sealed = current.own_digest().map(|digest| Self { digest, ..current });
        sealed.and_then(|manifest| serde_json::to_vec_pretty(&manifest)).map_err(|error| encode(&error))
    }

    fn own_digest(&self) -> Result<String, serde_json::Error> {
        let unsealed = Self { digest: String::new(), ..self.clone() };
        Ok(blake3::hash(&serde_json::to_vec(&unsealed)?).to_hex().to_string())
    }
}

fn encode(error: &serde_json::Error) -> Error {
    Error::Encode { file: super::Base::FILE.to_owned(), what: error.to_string() }
}

/// A dataset file with everything at its default that does not say how a row is read.
pub(super) fn reading(spec: &DatasetSpec) -> DatasetSpec {
    let defaults = CleaningSpec::default();
    let own = spec.cleaning.clone();
    DatasetSpec {
        name: "base".to_owned(),
        input: Inputs::new(vec![]),
        memory: muster_proto::units::ByteSize::default(),
        source: Default::default(),
        cleaning: CleaningSpec {
            missing: own.missing,
            required: own.required,
            on_invalid: own.on_invalid,
            max_field: own.max_field,
            max_row: own.max_row,
            min_time: own.min_time,
            max_time: own.max_time,
            ranges: own.ranges,
            ..defaults
        },
        sequences: SequencesSpec { group_by: spec.sequences.group_by, ..SequencesSpec::default() },
        split: Default::default(),
        vocabulary: Default::default(),
        features: Default::default(),
        item_tables: vec![],
        ..spec.clone()
    }
}

/// The keys that say how a row is read, by dotted name.
fn keys_of_reading(spec: &DatasetSpec) -> Result<BTreeMap<String, Value>, Error> {
    let value = serde_json::to_value(reading(spec)).map_err(|error| encode(&error))?;
    let mut keys = BTreeMap::new();
    flatten("", value, &mut keys);
    Ok(keys)
}

fn flatten(prefix: &str, value: Value, keys: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            let dot = if prefix.is_empty() { "" } else { "." };
            map.into_iter().for_each(|(key, value)| flatten(&format!("{prefix}{dot}{key}"), value, keys));
        }
        value => {
            keys.insert(prefix.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::prepare::growing::{AddArgs, Base, CutArgs, add, contents, cut};
    use crate::prepare::window::Window;

    const SPEC: &str = "name = \"log\"\ninput = \"*.csv\"\nformat = \"csv\"\npartitions = 2\n\
        [columns]\nuser = \"user\"\nitem = \"item\"\ntime = \"time\"\n";

    /// Writes the manifest of a base as it was before files had digests.
    fn make_old(store: &Path) {
        let mut manifest = Base::existing(store).unwrap().manifest;
        manifest.schema_version = 1;
        for increment in &mut manifest.increments {
            increment.times = None;
            increment.inputs.iter_mut().for_each(|input| (input.digest, input.stamp) = (None, None));
        }
        manifest.digest = manifest.own_digest().unwrap();
        let json = serde_json::to_vec_pretty(&manifest).unwrap();
        assert!(!String::from_utf8_lossy(&json).contains("stamp"));
        std::fs::write(store.join(Base::FILE), json).unwrap();
    }

    #[test]
    fn a_base_from_before_there_were_digests_is_read_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (base, store) = (folder.path(), &folder.path().join("store"));
        let spec: DatasetSpec = muster_proto::config::parse(SPEC, "dataset.toml", &[]).unwrap();
        let (variables, pulse, threads) = (&|_: &str| None, &|| true, 1);
        let args = AddArgs { spec: &spec, base, store, threads, variables, by: None, pulse };
        std::fs::write(base.join("a.csv"), "user,item,time\nu,a,10\nu,b,20\nu,c,30\n").unwrap();
        assert_eq!(add(&args).unwrap().files, 1);
        make_old(store);
        assert!(contents(store, None).unwrap().files().all(|file| file.digest.is_none()));
        std::fs::write(base.join("b.csv"), "user,item,time\nv,a,15\nv,b,40\n").unwrap();
        let added = add(&args).unwrap();
        assert_eq!((added.files, added.known), (1, 1));
        let (parent, increments, out) = (None, None, &folder.path().join("out"));
        let window = Window { from: Some(15_000), until: Some(40_000) };
        let args =
            CutArgs { spec: &spec, base, store, parent, out, threads, variables, window, increments, pulse };
        let found = cut(&args).unwrap();
        assert_eq!((found.outside, found.manifest.events), (2, 3));
        let json = std::fs::read(store.join(Base::FILE)).unwrap();
        let newer =
            String::from_utf8(json).unwrap().replace("\"schema_version\": 2", "\"schema_version\": 3");
        let error = Manifest::from_json(newer.as_bytes()).unwrap_err();
        assert_eq!(error, "has version 3, this muster reads 1 to 2");
    }
}
