//! A folder that is written beside its place and takes it when it is whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use super::listing::Listed;
use crate::error::Error;

/// Bytes that are copied at a time.
const CHUNK: usize = 1 << 20;

/// A folder under construction; one that is dropped before its end leaves nothing.
pub(super) struct Folder {
    out: PathBuf,
    beside: PathBuf,
    files: BTreeMap<String, Listed>,
    is_done: bool,
}

impl Folder {
    pub(super) fn begin(out: &Path) -> Result<Self, Error> {
        let refuse = |message: String| Error::bad_input(message).with_file(out).with_field("--out");
        let Some(name) = out.file_name() else {
            return Err(refuse(format!("{} names no folder that could be made", out.display())));
        };
        if out.symlink_metadata().is_ok() {
            return Err(refuse(format!("{} is there already; name a new folder with --out", out.display())));
        }
        let mut beside = name.to_owned();
        beside.push(format!(".{}.part", std::process::id()));
        let beside = out.with_file_name(beside);
        fs::create_dir_all(&beside)
            .map_err(|error| refuse(format!("cannot make the folder {}: {error}", beside.display())))?;
        Ok(Self { out: out.to_owned(), beside, files: BTreeMap::new(), is_done: false })
    }

    /// What was written, by path.
    pub(super) fn files(&self) -> &BTreeMap<String, Listed> {
        &self.files
    }

    /// Writes a file whole.
    pub(super) fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        self.stream(path, |sink| sink.write_all(bytes))
    }

    /// Copies a file as it is.
    pub(super) fn copy(&mut self, from: &Path, path: &str) -> Result<(), Error> {
        let mut source = File::open(from).map_err(|error| {
            Error::failed(format!("cannot read {}: {error}", from.display())).with_file(from)
        })?;
        self.stream(path, |sink| {
            let mut chunk = vec![0; CHUNK];
            loop {
                match source.read(&mut chunk)? {
                    0 => return Ok(()),
                    length => sink.write_all(&chunk[..length])?,
                }
            }
        })
    }

    /// Writes a file piece by piece.
    pub(super) fn stream(
        &mut self,
        path: &str,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        let place = self.beside.join(path);
        let written = (|| {
            fs::create_dir_all(place.parent().unwrap_or(&self.beside))?;
            let file = BufWriter::new(File::create(&place)?);
            let mut sink = Digesting { file, hasher: blake3::Hasher::new(), bytes: 0 };
            fill(&mut sink)?;
            let Digesting { file, hasher, bytes } = sink;
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            Ok(Listed { bytes, digest: hasher.finalize().to_hex().to_string() })
        })();
        let listed = written.map_err(|error: io::Error| self.unwritten(&place, &error))?;
        self.files.insert(path.to_owned(), listed);
        Ok(())
    }

    /// Gives the folder its name.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let renamed = fs::rename(&self.beside, &self.out).and_then(|()| {
            let parent = self.out.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        });
        renamed.map_err(|error| self.unwritten(&self.out, &error))?;
        self.is_done = true;
        Ok(())
    }

    fn unwritten(&self, place: &Path, error: &io::Error) -> Error {
        Error::failed(format!("cannot write {}: {error}", place.display())).with_file(&self.out)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_done {
            // Half an export is of no use to anybody; what cannot be removed has a name that says so.
            let _ = fs::remove_dir_all(&self.beside);
        }
    }
}

/// Counts and digests what goes into a file.
struct Digesting {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
