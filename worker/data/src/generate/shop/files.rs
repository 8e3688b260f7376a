//! The files of a log in the making: they appear together or not at all.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use muster_proto::dataset::{Compression, LogFormat, ShopSpec};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression as Codec;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use super::truth::Truth;
use super::{DATASET_FILE, TRUTH_FILE, dataset_file, table};
use crate::generate::error::Error;

/// A chunk, ready for its file.
pub(super) enum Output {
    Text(Vec<u8>),
    Table(RecordBatch),
}

enum Sink {
    Text(BufWriter<File>),
    Table(Box<ArrowWriter<File>>),
}

/// The files so far.
pub(super) struct Files<'s> {
    spec: &'s ShopSpec,
    target: PathBuf,
    staging: TempDir,
    sink: Option<Sink>,
    names: Vec<String>,
}

impl<'s> Files<'s> {
    pub(super) fn start(spec: &'s ShopSpec, target: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: target.to_owned(), source };
        let is_free = match std::fs::read_dir(target) {
            Ok(mut entries) => entries.next().is_none() || target.join(TRUTH_FILE).is_file(),
            Err(_) => !target.exists(),
        };
        if !is_free {
            return Err(Error::Occupied { path: target.to_owned() });
        }
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(parent).map_err(failed)?;
        let staging = tempfile::Builder::new().prefix(".generating-").tempdir_in(parent).map_err(failed)?;
        std::fs::create_dir(staging.path().join("log")).map_err(failed)?;
        Ok(Self { spec, target: target.to_owned(), staging, sink: None, names: vec![] })
    }

    fn dir(&self) -> PathBuf {
        self.staging.path().join("log")
    }

    fn failed(&self, name: &str) -> impl Fn(std::io::Error) -> Error + use<> {
        let path = self.target.join(name);
        move |source| Error::Write { path: path.clone(), source }
    }

    /// Adds a chunk to file number `file`; files come in order.
    pub(super) fn write(&mut self, file: u64, output: Output) -> Result<(), Error> {
        if file as usize == self.names.len() {
            self.close()?;
            self.open(file)?;
        }
        let name = self.names.last().cloned().unwrap_or_default();
        let encode = |error: parquet::errors::ParquetError| Error::Encode { what: error.to_string() };
        match (&mut self.sink, output) {
            (Some(Sink::Text(writer)), Output::Text(text)) => {
                writer.write_all(&text).map_err(self.failed(&name))
            }
            (Some(Sink::Table(writer)), Output::Table(batch)) => {
                writer.write(&batch).and_then(|()| writer.flush()).map_err(encode)
            }
            _ => unreachable!("one spec makes files and chunks of one format"),
        }
    }

    fn open(&mut self, file: u64) -> Result<(), Error> {
        let ending = match (self.spec.format, self.spec.compression) {
            (LogFormat::Parquet, _) => "parquet",
            (LogFormat::Csv, Compression::None) => "csv",
            (LogFormat::Csv, Compression::Gzip) => "csv.gz",
            (LogFormat::Csv, Compression::Zstd) => "csv.zst",
            (LogFormat::Jsonl, Compression::None) => "jsonl",
            (LogFormat::Jsonl, Compression::Gzip) => "jsonl.gz",
            (LogFormat::Jsonl, Compression::Zstd) => "jsonl.zst",
        };
        let name = format!("events-{file:05}.{ending}");
        let opened = File::create_new(self.dir().join(&name)).map_err(self.failed(&name))?;
        self.sink = Some(if self.spec.format == LogFormat::Parquet {
            let properties = WriterProperties::builder().set_compression(Codec::SNAPPY).build();
            let writer = ArrowWriter::try_new(opened, table::schema(), Some(properties))
                .map_err(|error| Error::Encode { what: error.to_string() })?;
            Sink::Table(Box::new(writer))
        } else {
            Sink::Text(BufWriter::new(opened))
        });
        self.names.push(name);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        let name = self.names.last().cloned().unwrap_or_default();
        let failed = self.failed(&name);
        match self.sink.take() {
            None => Ok(()),
            Some(Sink::Text(writer)) => {
                let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
                file.sync_all().map_err(failed)
            }
            Some(Sink::Table(writer)) => {
                let file = writer.into_inner().map_err(|error| Error::Encode { what: error.to_string() })?;
                file.sync_all().map_err(failed)
            }
        }
    }

    /// Writes the dataset file and the truth, and puts everything in place.
    pub(super) fn finish(mut self, truth: &mut Truth) -> Result<(), Error> {
        self.close()?;
        truth.files.clone_from(&self.names);
        for name in &self.names {
            truth.bytes += self.dir().join(name).metadata().map_err(self.failed(name))?.len();
        }
        let json =
            serde_json::to_string_pretty(truth).map_err(|error| Error::Encode { what: error.to_string() })?;
        let texts = [(DATASET_FILE, dataset_file::text(self.spec, &self.names)), (TRUTH_FILE, json + "\n")];
        for (name, text) in texts {
            std::fs::write(self.dir().join(name), text).map_err(self.failed(name))?;
        }
        let put_in_place = || -> std::io::Result<()> {
            if self.target.exists() {
                std::fs::rename(&self.target, self.staging.path().join("replaced"))?;
            }
            std::fs::rename(self.dir(), &self.target)
        };
        put_in_place().map_err(self.failed(""))
    }
}
