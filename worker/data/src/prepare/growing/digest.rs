//! Digests of input files. A file is read by itself for its digest, since readers of Parquet skip what they do not need.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use muster_objects::Object;

use crate::prepare::error::Error;
use crate::prepare::pass::Pulse;

/// Bytes between two beats of the pulse.
const BUFFER_BYTES: usize = 1 << 20;

/// The digest of a file's bytes as they are stored: BLAKE3, or of an object its tag in place of it, where the store gives one that
/// changes with the bytes.
pub(super) fn digest(path: &Path, pulse: Pulse<'_>) -> Result<String, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let source: Box<dyn Read> = match path.to_str().filter(|path| muster_objects::is_url(path)) {
        Some(url) => {
            let object = Object::open(url).map_err(failed)?;
            if object.has_entity_tag() {
                return Ok(format!("etag:{}", object.tag()));
            }
            Box::new(object.reader())
        }
        None => Box::new(File::open(path).map_err(failed)?),
    };
    hash(source, pulse).map_err(failed)?.ok_or(Error::Stopped)
}

/// The digest of all that there is to read; none where it is to stop.
fn hash(mut source: Box<dyn Read>, pulse: Pulse<'_>) -> io::Result<Option<String>> {
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; BUFFER_BYTES]);
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(Some(hasher.finalize().to_hex().to_string())),
            Ok(read) => {
                hasher.update(&buffer[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !pulse() {
            return Ok(None);
        }
    }
}
