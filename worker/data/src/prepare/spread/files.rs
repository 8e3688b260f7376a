//! What processes hand to each other in files: JSON, compressed, and lists of numbers.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use muster_proto::dataset::FileEntry;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::prepare::error::Error;
use crate::store::{Keys, encode_vocabulary};

/// Fast, and a third of the bytes.
const LEVEL: i32 = 1;

/// Writes a value.
pub(in crate::prepare) fn save(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let file = File::create(path).map_err(failed)?;
    let mut encoder = zstd::Encoder::new(file, LEVEL).map_err(failed)?;
    encoder.include_checksum(true).map_err(failed)?;
    let mut writer = BufWriter::with_capacity(1 << 16, encoder);
    serde_json::to_writer(&mut writer, value)
        .map_err(|error| Error::Encode { file: path.display().to_string(), what: error.to_string() })?;
    let encoder = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    encoder.finish().and_then(|mut file| file.flush()).map_err(failed)
}

/// Reads what [`save`] wrote.
pub(in crate::prepare) fn load<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let decoder = File::open(path).and_then(zstd::Decoder::new).map_err(failed)?;
    serde_json::from_reader(BufReader::with_capacity(1 << 16, decoder))
        .map_err(|error| Error::Shared { path: path.to_owned(), what: format!("it is not whole: {error}") })
}

/// Writes lists of numbers, one after the other.
pub(in crate::prepare) fn save_numbers(path: &Path, lists: &[Vec<u32>]) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        let mut writer = BufWriter::new(File::create(path)?);
        for number in lists.iter().flatten() {
            writer.write_all(&number.to_le_bytes())?;
        }
        writer.flush()
    };
    write().map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Reads what [`save_numbers`] wrote.
pub(in crate::prepare) fn load_numbers(path: &Path, lengths: &[usize]) -> Result<Vec<Vec<u32>>, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let numbers = bytes.as_chunks::<4>().0;
    if numbers.len() != lengths.iter().sum::<usize>() || bytes.len() % 4 != 0 {
        let what = format!("it has {} bytes, which is not what was written", bytes.len());
        return Err(Error::Shared { path: path.to_owned(), what });
    }
    let mut rest = numbers;
    let list = |length: &usize| {
        let (list, after) = rest.split_at(*length);
        rest = after;
        list.iter().map(|number| u32::from_le_bytes(*number)).collect()
    };
    Ok(lengths.iter().map(list).collect())
}

/// Writes keys, and says what is in the file.
pub(in crate::prepare) fn save_keys(dir: &Path, name: &str, keys: &Keys) -> Result<FileEntry, Error> {
    let bytes = encode_vocabulary(keys)
        .map_err(|error| Error::Encode { file: name.to_owned(), what: error.to_string() })?;
    let path = dir.join(name);
    std::fs::write(&path, &bytes).map_err(|source| Error::Write { path, source })?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    Ok(FileEntry { file: name.to_owned(), bytes: bytes.len() as u64, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_arrives_or_is_said_to_be_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("value");
        let value: Vec<u64> = (0..100_000).map(|number| number % 977).collect();
        save(&path, &value).unwrap();
        assert_eq!(load::<Vec<u64>>(&path).unwrap(), value);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(matches!(load::<Vec<u64>>(&path), Err(Error::Shared { .. })));
        let lists = vec![vec![1, 2, u32::MAX], vec![], vec![7]];
        save_numbers(&path, &lists).unwrap();
        assert_eq!(load_numbers(&path, &[3, 0, 1]).unwrap(), lists);
        assert!(matches!(load_numbers(&path, &[3, 0]), Err(Error::Shared { .. })));
    }
}
