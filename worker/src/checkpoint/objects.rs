//! Checkpoints in an S3-compatible object store.
//!
//! Where it is and who may use it comes from the environment, under the names that AWS's own tools use:
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`. Requests that
//! fail for a passing reason are tried again, for a minute at most.

use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig,
    WriteMultipart,
};
use tokio::runtime::{Builder, Runtime};

/// Files above this size are uploaded in parts of it, at most [`PARTS_AT_ONCE`] at a time.
const PART_BYTES: usize = 16 << 20;
const PARTS_AT_ONCE: usize = 4;

/// How long one request may take, and how long a request is tried again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// A prefix of a bucket.
#[derive(Debug, Clone)]
pub struct Prefix {
    store: Arc<dyn ObjectStore>,
    bucket: String,
    path: Path,
}

impl Prefix {
    /// Makes the client for `s3://bucket/prefix`; nothing is sent yet.
    pub(super) fn open(url: &str) -> io::Result<Self> {
        let wrong = |problem: String| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let rest = url.strip_prefix("s3://").ok_or_else(|| wrong("the URL must begin with s3://".into()))?;
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(wrong("the URL names no bucket; write s3://BUCKET/PREFIX".into()));
        }
        // It fails where another part of the process has chosen one before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = AmazonS3Builder::from_env();
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint).unwrap_or_default();
        let client = ClientOptions::new()
            .with_allow_http(endpoint.starts_with("http://"))
            .with_timeout(REQUEST_TIMEOUT);
        let retry = RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        let store = builder
            .with_bucket_name(bucket)
            .with_client_options(client)
            .with_retry(retry)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .build()?;
        let path = Path::parse(path.trim_matches('/')).map_err(|e| wrong(e.to_string()))?;
        Ok(Self { store: Arc::new(store), bucket: bucket.to_owned(), path })
    }

    pub(super) fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.path)
    }

    pub(super) fn join(&self, name: &str) -> Self {
        let path = name.split('/').fold(self.path.clone(), Path::join);
        Self { path, ..self.clone() }
    }

    pub(super) fn beside(&self, name: &str) -> Self {
        let mut parts: Vec<_> = self.path.parts().collect();
        parts.pop();
        Self { path: Path::from_iter(parts), ..self.clone() }.join(name)
    }

    pub(super) fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        let (store, path) = (self.store.clone(), self.path.clone().join(file));
        let bytes = wait(async move { store.get(&path).await?.bytes().await })??;
        Ok(bytes.to_vec())
    }

    pub(super) fn write(&self, file: &str, bytes: Vec<u8>) -> io::Result<()> {
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
    pub(super) fn create(&self, file: &str, bytes: Vec<u8>) -> io::Result<()> {
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

    pub(super) fn children(&self) -> io::Result<Vec<String>> {
        let (store, path) = (self.store.clone(), self.path.clone());
        let listed = wait(async move { store.list_with_delimiter(Some(&path)).await })??;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        Ok(names.map(str::to_owned).collect())
    }

    pub(super) fn remove(&self, first: &str) -> io::Result<()> {
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

/// Runs a request to its end on the store's own runtime, so that it may be called from any thread.
fn wait<T: Send + 'static>(request: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("object-store").enable_all().build().map_err(|e| e.to_string())
    });
    let runtime = runtime.as_ref().map_err(|problem| io::Error::other(problem.clone()))?;
    let (done, result) = sync_channel(1);
    runtime.spawn(async move {
        // The receiver waits below for as long as the request runs.
        let _ = done.send(request.await);
    });
    result.recv().map_err(|_| io::Error::other("a request to the object store ended without a result"))
}
