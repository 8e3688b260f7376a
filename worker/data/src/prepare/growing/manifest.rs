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
}

/// An input file that is in the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Manifest {
    const VERSION: u32 = 1;

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
        self.increments.iter().flat_map(|increment| &increment.inputs).find(|input| input.name == name)
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if manifest.schema_version != Self::VERSION {
            return Err(format!(
                "has version {}, this muster reads {}",
                manifest.schema_version,
                Self::VERSION
            ));
        }
        let found = manifest.own_digest().map_err(|error| error.to_string())?;
        if found == manifest.digest {
            Ok(manifest)
        } else {
            Err("was changed after it was written".to_owned())
        }
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, Error> {
        let sealed = self.own_digest().map(|digest| Self { digest, ..self.clone() });
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
