//! A prepared dataset on disk: the manifest at hand, everything else loaded and checked on request.

use std::io;
use std::path::{Path, PathBuf};

use arrow_array::types::UInt32Type;
use muster_proto::dataset::{
    ColumnKind, ColumnOf, DatasetKind, DatasetManifest, FileEntry, ManifestError, partition_of,
};

use super::codec::{Columns, Shape, decode_partition};
use super::error::Error;
use super::items::{AttributeLists, Attributes, Items, Vocabulary};
use super::keys::Keys;
use super::partition::{Cut, Partition};

/// A prepared dataset on disk.
#[derive(Debug, Clone)]
pub struct Dataset {
    dir: PathBuf,
    manifest: DatasetManifest,
}

impl Dataset {
    /// Opens the dataset in `dir`: reads and checks its manifest, nothing else.
    ///
    /// # Errors
    /// There is no manifest, or it is not accepted.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(DatasetManifest::FILE);
        let text = std::fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Error::NoManifest { dir: dir.to_owned() }
            }
            _ => Error::Read { path: path.clone(), source },
        })?;
        let manifest = DatasetManifest::from_json(&String::from_utf8_lossy(&text))
            .map_err(|source| Error::Manifest { path, source })?;
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// What the dataset holds.
    #[must_use]
    pub fn manifest(&self) -> &DatasetManifest {
        &self.manifest
    }

    /// The folder of the dataset.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Loads a log partition, after its size and digest were checked.
    ///
    /// # Errors
    /// There is no such partition, its file is missing or damaged, or does not hold what the manifest says.
    pub fn load(&self, partition: u32) -> Result<Partition, Error> {
        let partitions = &self.manifest.partitions;
        let entry = partitions
            .get(partition as usize)
            .ok_or(Error::NoPartition { partition, partitions: partitions.len() })?;
        let file = FileEntry { file: entry.file.clone(), bytes: entry.bytes, digest: entry.digest.clone() };
        let path = self.dir.join(&file.file);
        let bytes = checked_bytes(&path, &file)?;
        let loaded = decode_partition(bytes, self.shape()).and_then(|loaded| {
            let events = u64::from(loaded.offsets.last().copied().unwrap_or(0));
            if (loaded.users(), events) != (entry.users, entry.events) {
                return Err(format!("{} users with {events} events", loaded.users()));
            }
            self.check_ids(&loaded)?;
            Ok(loaded)
        });
        let loaded = loaded.map_err(|what| Error::Content { path, what })?;
        let cut = Cut::of(&self.manifest);
        Ok(Partition { id: partition, first_user: entry.first_user, cut, ..loaded })
    }

    fn shape(&self) -> Shape {
        Shape {
            categorical: self.manifest.categorical().count(),
            numeric: self.manifest.numeric().count(),
            is_series: self.manifest.kind == DatasetKind::Series,
        }
    }

    /// No id may point outside its table: kernels take that for granted.
    fn check_ids(&self, partition: &Partition) -> Result<(), String> {
        check_below(&partition.items, self.manifest.items, "item")?;
        for (values, column) in partition.categorical.iter().zip(self.manifest.categorical()) {
            check_below(values, column.vocabulary, &column.name)?;
        }
        Ok(())
    }

    /// Loads the items: keys, training counts and attributes.
    ///
    /// # Errors
    /// The dataset is a series, or a file is missing, damaged, or does not hold what the manifest says.
    pub fn load_items(&self) -> Result<Items, Error> {
        let manifest = &self.manifest;
        let no_items = || Error::NoItems { name: manifest.name.clone() };
        let file = manifest.items_file.as_ref().ok_or_else(no_items)?;
        let attribute_columns: Vec<&str> = manifest
            .columns
            .iter()
            .filter(|column| column.of == ColumnOf::Item && column.kind == ColumnKind::Categorical)
            .map(|column| column.name.as_str())
            .collect();
        let (mut items, lists) = self.decode(file, |columns| {
            if columns.rows() != manifest.items as usize {
                return Err(format!("{} items", columns.rows()));
            }
            let items = Items {
                vocabulary: Vocabulary::new(columns.strings("item")?),
                train_counts: columns.counts("train_events")?,
                attributes: vec![],
            };
            let lists = (0..attribute_columns.len())
                .map(|idx| {
                    let (offsets, values) = columns.lists::<UInt32Type>(&format!("attribute.{idx}"))?;
                    Ok(AttributeLists { offsets, values })
                })
                .collect::<Result<Vec<_>, String>>()?;
            Ok((items, lists))
        })?;
        for (name, lists) in attribute_columns.iter().zip(lists) {
            let vocabulary = self.load_vocabulary(name)?;
            items.attributes.push(((*name).to_owned(), Attributes { lists, vocabulary }));
        }
        Ok(items)
    }

    /// Loads the vocabulary of a categorical column.
    ///
    /// # Errors
    /// There is no such column, or its file is missing, damaged, or does not hold what the manifest says.
    pub fn load_vocabulary(&self, column: &str) -> Result<Vocabulary, Error> {
        let mut named = self.manifest.categorical().zip(&self.manifest.vocabularies);
        let Some((column, file)) = named.find(|(known, _)| known.name == column) else {
            let known: Vec<&str> = self.manifest.categorical().map(|column| column.name.as_str()).collect();
            return Err(Error::NoColumn { column: column.to_owned(), known: known.join(", ") });
        };
        self.decode(file, |columns| {
            if columns.rows() != column.vocabulary as usize {
                return Err(format!("{} values", columns.rows()));
            }
            Ok(Vocabulary::new(columns.strings("key")?))
        })
    }

    /// Finds a user: the partition that holds it, loaded, and the user's position there.
    ///
    /// # Errors
    /// The partition cannot be loaded.
    pub fn find_user(&self, key: &str) -> Result<Option<(Partition, u32)>, Error> {
        let partition = self.load(partition_of(key, self.manifest.partitions.len() as u32))?;
        Ok(partition.find_user(key).map(|local| (partition, local)))
    }

    /// A partition of one user, who is in no log: these items in their order. What items are known for is filled in from `items`, the
    /// dataset's own; what only an event has is unknown, and 0 where it is a number.
    #[must_use]
    pub fn sequence(&self, items: &Items, history: &[u32]) -> Partition {
        let mut keys = Keys::new();
        keys.push("");
        let categorical = self.manifest.categorical().map(|column| {
            let attributes = items.attributes(&column.name).filter(|_| column.of == ColumnOf::Item);
            let value = |item: &u32| attributes.map_or(0, |attributes| attributes.lists.first(*item));
            history.iter().map(value).collect()
        });
        Partition {
            offsets: vec![0, history.len() as u32],
            items: history.to_vec(),
            times: (0..history.len() as i64).collect(),
            categorical: categorical.collect(),
            numeric: vec![vec![0.0; history.len()]; self.manifest.numeric().count()],
            cut: Cut::of(&self.manifest),
            ..Partition::with_keys(keys)
        }
    }

    /// Number of training events of each item.
    ///
    /// # Errors
    /// The dataset is a series, or the items cannot be loaded.
    pub fn popularity(&self) -> Result<Vec<u64>, Error> {
        let no_items = || Error::NoItems { name: self.manifest.name.clone() };
        let file = self.manifest.items_file.as_ref().ok_or_else(no_items)?;
        self.decode(file, |columns| columns.counts("train_events"))
    }

    fn decode<T>(
        &self,
        file: &FileEntry,
        read: impl FnOnce(&Columns) -> Result<T, String>,
    ) -> Result<T, Error> {
        let path = self.dir.join(&file.file);
        let bytes = checked_bytes(&path, file)?;
        let content = |what| Error::Content { path: path.clone(), what };
        read(&Columns::decode(bytes).map_err(content)?).map_err(content)
    }
}

fn check_below(ids: &[u32], limit: u32, column: &str) -> Result<(), String> {
    match ids.iter().find(|id| **id >= limit) {
        Some(id) => Err(format!("id {id} in column `{column}`, whose vocabulary has {limit}")),
        None => Ok(()),
    }
}

fn checked_bytes(path: &Path, file: &FileEntry) -> Result<Vec<u8>, Error> {
    // A name with a separator could leave the folder; the digest alone does not protect from that.
    if Path::new(&file.file).components().count() != 1 {
        let what = format!("file name `{}`", file.file);
        let source = ManifestError::Inconsistent { what };
        return Err(Error::Manifest { path: path.to_owned(), source });
    }
    let bytes = std::fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Read { path: path.to_owned(), source },
    })?;
    let found = blake3::hash(&bytes).to_hex().to_string();
    if bytes.len() as u64 != file.bytes || found != file.digest {
        return Err(Error::Digest {
            path: path.to_owned(),
            found,
            found_bytes: bytes.len() as u64,
            expected: file.digest.clone(),
            expected_bytes: file.bytes,
        });
    }
    Ok(bytes)
}
