//! Files by name below a prefix of an S3-compatible store, written whole.

use std::io;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, WriteMultipart};

use crate::client::Place;
use crate::runtime::wait;

/// Files above this size are uploaded in parts of it, at most [`PARTS_AT_ONCE`] at a time.
const PART_BYTES: usize = 16 << 20;
const PARTS_AT_ONCE: usize = 4;

/// A prefix of a bucket.
#[derive(Debug, Clone)]
pub struct Prefix {
    store: Arc<dyn ObjectStore>,
    root: String,
    path: Path,
}

impl Prefix {
    /// Makes the client for `s3://bucket/prefix`; nothing is sent yet.
    ///
    /// # Errors
    /// The URL is none, or the environment does not say how to reach the store.
    pub fn open(url: &str) -> io::Result<Self> {
        if !url.starts_with("s3://") {
            let problem = "the URL must begin with s3://";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let Place { store, root, path } = Place::open(url)?;
        Ok(Self { store, root, path })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{}", self.root, self.path)
    }

    /// The prefix `name` below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let path = name.split('/').fold(self.path.clone(), Path::join);
        Self { path, ..self.clone() }
    }

    /// The prefix `name` beside this one.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        let mut parts: Vec<_> = self.path.parts().collect();
        parts.pop();
        Self { path: Path::from_iter(parts), ..self.clone() }.join(name)
    }

    /// Reads a file whole.
    ///
    /// # Errors
    /// The store says no, or cannot be reached.
    pub fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        let (store, path) = (self.store.clone(), self.path.clone().join(file));
        let bytes = wait(async move { store.get(&path).await?.bytes().await })??;
        Ok(bytes.to_vec())
    }

    /// Writes a file; it is there whole, or as it was.
    ///
    /// # Errors
    /// The store says no, or cannot be reached.
    pub fn write(&self, file: &str, bytes: Vec<u8>) -> io::Result<()> {
        let (store, path) = (self.store.clone(), self.path.clone().join(file));
        wait(async move {
            if bytes.len() <= PART_BYTES {
                return store.put(&path, PutPayload::from(bytes)).await.map(drop);
            }
            let upload = store.put_multipart(&path).await?;
            let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            for part in bytes.chunks(PART_BYTES) {
                writer.wait_for_capacity(PARTS_AT_ONCE).await?;
                writer.write(part);
            }
            writer.finish().await.map(drop)
        })?
        .map_err(io::Error::from)
    }

    /// Writes a file that must not be there yet.
    ///
    /// # Errors
    /// It is there ([`io::ErrorKind::AlreadyExists`]), or as [`Prefix::write`].
    pub fn create(&self, file: &str, bytes: Vec<u8>) -> io::Result<()> {
        let (store, path) = (self.store.clone(), self.path.clone().join(file));
        let options = PutOptions::from(PutMode::Create);
        wait(async move { store.put_opts(&path, PutPayload::from(bytes), options).await })?.map(drop).map_err(
            |error| match error {
                object_store::Error::AlreadyExists { .. } => {
                    io::Error::new(io::ErrorKind::AlreadyExists, error)
                }
                error => error.into(),
            },
        )
    }

    /// The names of what lies directly below.
    ///
    /// # Errors
    /// The store says no, or cannot be reached.
    pub fn children(&self) -> io::Result<Vec<String>> {
        let (store, path) = (self.store.clone(), self.path.clone());
        let listed = wait(async move { store.list_with_delimiter(Some(&path)).await })??;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        Ok(names.map(str::to_owned).collect())
    }

    /// Removes everything directly below, `first` before anything else.
    ///
    /// # Errors
    /// The store says no, or cannot be reached.
    pub fn remove(&self, first: &str) -> io::Result<()> {
        let (store, path) = (self.store.clone(), self.path.clone());
        let first = path.clone().join(first);
        wait(async move {
            store.delete(&first).await?;
            for object in store.list_with_delimiter(Some(&path)).await?.objects {
                store.delete(&object.location).await?;
            }
            Ok::<_, object_store::Error>(())
        })?
        .map_err(io::Error::from)
    }
}
