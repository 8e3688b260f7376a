//! Why an object cannot be read.

use std::io;

/// Why an object cannot be read. Readers give it as the inside of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is none of an object store.
    #[error("`{url}` is no address of an object: {what}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// The object is another one than when it was opened.
    #[error("it changed while it was read; read it again once nothing writes to it")]
    Changed,
    /// A part came with another length than the store promised.
    #[error("{found} bytes came of {expected} that were asked for")]
    Short {
        /// What came.
        found: u64,
        /// What was asked for.
        expected: u64,
    },
    /// The store says no, or cannot be reached.
    #[error("{0}")]
    Store(String, #[source] object_store::Error),
}

impl Error {
    /// An error of the store, with the innermost cause in words.
    pub(crate) fn store(error: object_store::Error) -> Self {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let inner = cause.to_string();
        let outer = error.to_string();
        // Layers repeat the layers below them; the outermost line says what was done, the innermost why it failed.
        let first = outer.lines().next().unwrap_or_default().to_owned();
        let text = if first.contains(&inner) { first } else { format!("{first}: {inner}") };
        Self::Store(text, error)
    }

    /// Whether another try may end otherwise.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Url { .. } | Self::Changed => false,
            Self::Short { .. } => true,
            Self::Store(_, error) => matches!(error, object_store::Error::Generic { .. }),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Url { .. } => io::ErrorKind::InvalidInput,
            Error::Store(_, object_store::Error::NotFound { .. }) => io::ErrorKind::NotFound,
            Error::Store(
                _,
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. },
            ) => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
