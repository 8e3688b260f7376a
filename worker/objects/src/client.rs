//! From a URL to the client of its store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::error::Error;

/// How long one request may take, and how long a request is tried again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
pub(crate) const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Clients that are kept for the next object of the same bucket: connections and credentials are theirs.
const MAX_CLIENTS: usize = 8;

const SCHEMES: [&str; 3] = ["s3", "gs", "az"];

/// Whether a path is the URL of an object store: `s3://`, `gs://` or `az://`.
#[must_use]
pub fn is_url(path: &str) -> bool {
    path.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// A place in a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// `scheme://bucket`
    pub(crate) root: String,
    pub(crate) path: Path,
}

impl Place {
    /// The place that `scheme://bucket/path` names; nothing is sent yet. A path is taken as it stands, without
    /// escapes.
    pub(crate) fn open(url: &str) -> Result<Self, Error> {
        let wrong = |what: String| Error::Url { url: url.to_owned(), what };
        let (scheme, rest) = url
            .split_once("://")
            .filter(|(scheme, _)| SCHEMES.contains(scheme))
            .ok_or_else(|| wrong("it begins with none of s3://, gs://, az://".to_owned()))?;
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(wrong(format!("it names no bucket; write {scheme}://BUCKET/PATH")));
        }
        let path = Path::parse(path.trim_matches('/')).map_err(|error| wrong(error.to_string()))?;
        let root = format!("{scheme}://{bucket}");
        let store = client(&root, scheme, bucket).map_err(Error::store)?;
        Ok(Self { store, root, path })
    }

    /// The URL of an object of the same bucket.
    pub(crate) fn url_of(&self, path: &Path) -> String {
        format!("{}/{path}", self.root)
    }
}

fn client(root: &str, scheme: &str, bucket: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    static CLIENTS: Mutex<Vec<(String, Arc<dyn ObjectStore>)>> = Mutex::new(Vec::new());
    // A client is whole or absent, whatever a thread that panicked did meanwhile.
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = clients.iter().find(|(of, _)| of == root) {
        return Ok(Arc::clone(known));
    }
    let made = make(scheme, bucket)?;
    if clients.len() == MAX_CLIENTS {
        clients.remove(0);
    }
    clients.push((root.to_owned(), Arc::clone(&made)));
    Ok(made)
}

fn make(scheme: &str, bucket: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    // It fails where another part of the process has chosen one before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = ClientOptions::new().with_timeout(REQUEST_TIMEOUT);
    let retry = RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    Ok(match scheme {
        "gs" => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(bucket)
                .with_client_options(options)
                .with_retry(retry)
                .build()?,
        ),
        "az" => Arc::new(
            MicrosoftAzureBuilder::from_env()
                .with_container_name(bucket)
                .with_client_options(options)
                .with_retry(retry)
                .build()?,
        ),
        _ => {
            let builder = AmazonS3Builder::from_env();
            let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint).unwrap_or_default();
            let options = options.with_allow_http(endpoint.starts_with("http://"));
            Arc::new(
                builder
                    .with_bucket_name(bucket)
                    .with_client_options(options)
                    .with_retry(retry)
                    .with_conditional_put(S3ConditionalPut::ETagMatch)
                    .build()?,
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_stores_are_told_from_paths() {
        for (path, expected) in [("s3://b/k", true), ("gs://b", true), ("az://c/k", true)]
            .into_iter()
            .chain([("file:///tmp", false), ("/tmp/s3://b", false), ("s3:/b", false), ("", false)])
        {
            assert_eq!(is_url(path), expected, "{path}");
        }
    }

    #[test]
    fn a_url_without_a_bucket_is_refused() {
        for url in ["s3://", "s3:///key", "http://b/k"] {
            assert!(matches!(Place::open(url), Err(Error::Url { .. })), "{url}");
        }
    }
}
