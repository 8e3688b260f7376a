//! One version of an object, and the objects below a prefix.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt as _;

use crate::client::{Place, RETRY_TIMEOUT};
use crate::error::Error;
use crate::reader::Reader;
use crate::runtime::{Started, start, wait};

/// The first pause before a part is asked for again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One version of an object: what is read of it later is of the same version, or an error.
#[derive(Debug, Clone)]
pub struct Object {
    store: Arc<dyn ObjectStore>,
    url: String,
    meta: Arc<ObjectMeta>,
}

impl Object {
    /// Looks an object up by its URL.
    ///
    /// # Errors
    /// There is none ([`io::ErrorKind::NotFound`]), or the store says no or cannot be reached.
    pub fn open(url: &str) -> io::Result<Self> {
        let Place { store, path, root } = Place::open(url)?;
        let asked = Arc::clone(&store);
        let location = path.clone();
        let meta = wait(async move { asked.head(&location).await })?.map_err(Error::store)?;
        Ok(Self { store, url: format!("{root}/{path}"), meta: Arc::new(meta) })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.meta.size
    }

    /// What tells this version from others: the tag that the store gives it, or else when it was written last.
    #[must_use]
    pub fn tag(&self) -> String {
        self.meta.e_tag.clone().unwrap_or_else(|| self.meta.last_modified.to_rfc3339())
    }

    /// Whether the store gives its objects tags, which change with their bytes.
    #[must_use]
    pub fn has_entity_tag(&self) -> bool {
        self.meta.e_tag.is_some()
    }

    /// Reads it from its start, part after part.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.clone())
    }

    /// Reads a part of it.
    ///
    /// # Errors
    /// It changed, or the store does not give it within the time for tries.
    pub fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        Ok(self.start(range)?.wait()??)
    }

    /// Begins to read a part of it.
    pub(crate) fn start(&self, range: Range<u64>) -> io::Result<Started<Result<Bytes, Error>>> {
        let object = self.clone();
        start(async move { object.fetch(range).await })
    }

    /// A connection that breaks in the middle of a body is not tried again by the client, so it is here.
    async fn fetch(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let deadline = Instant::now() + RETRY_TIMEOUT;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.fetch_once(range.clone()).await {
                Err(error) if error.is_passing() && Instant::now() + pause < deadline => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                fetched => return fetched,
            }
        }
    }

    async fn fetch_once(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let expected = range.end - range.start;
        let options = GetOptions {
            if_match: self.meta.e_tag.clone(),
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let got = self.store.get_opts(&self.meta.location, options).await.map_err(|error| match error {
            object_store::Error::Precondition { .. } => Error::Changed,
            error => Error::store(error),
        })?;
        // Not every server heeds the condition.
        let is_same = match (&self.meta.e_tag, &got.meta.e_tag) {
            (Some(then), Some(now)) => then == now,
            _ => self.meta.last_modified == got.meta.last_modified,
        };
        if !is_same || got.meta.size != self.meta.size {
            return Err(Error::Changed);
        }
        let bytes = got.bytes().await.map_err(Error::store)?;
        let found = bytes.len() as u64;
        if found == expected { Ok(bytes) } else { Err(Error::Short { found, expected }) }
    }
}

/// All objects below a prefix, in the order of their URLs' bytes. Empty objects that stand for folders, as some tools
/// make them, are left out.
///
/// # Errors
/// The URL is none, or the store says no or cannot be reached.
pub fn list(prefix: &str) -> io::Result<Vec<Object>> {
    let place = Place::open(prefix)?;
    let (store, below) = (Arc::clone(&place.store), place.path.clone());
    let mut listed: Vec<ObjectMeta> = wait(async move {
        let below = Some(&below).filter(|path| !path.as_ref().is_empty());
        let mut stream = store.list(below);
        let mut found = Vec::new();
        while let Some(object) = stream.next().await {
            found.push(object?);
        }
        Ok::<_, object_store::Error>(found)
    })?
    .map_err(Error::store)?;
    listed.sort_by(|a, b| a.location.as_ref().as_bytes().cmp(b.location.as_ref().as_bytes()));
    let is_folder = |path: &Path| {
        let inside = format!("{path}/");
        let name = |object: &ObjectMeta| object.location.as_ref().as_bytes() < inside.as_bytes();
        let after = listed.get(listed.partition_point(name));
        after.is_some_and(|object| object.location.as_ref().starts_with(&inside))
    };
    let kept: Vec<bool> = listed.iter().map(|meta| meta.size > 0 || !is_folder(&meta.location)).collect();
    let kept = listed.into_iter().zip(kept).filter_map(|(meta, is_kept)| is_kept.then_some(meta));
    let object = |meta: ObjectMeta| Object {
        store: Arc::clone(&place.store),
        url: place.url_of(&meta.location),
        meta: Arc::new(meta),
    };
    Ok(kept.map(object).collect())
}
