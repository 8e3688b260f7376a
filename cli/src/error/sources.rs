//! What the errors of each crate mean to the user: whose move it is, in which file, at which field.

use muster_data::{generate, prepare};
use muster_proto::{auth, config, rpc};
use muster_worker::train::SetupError;
use muster_worker::{agent, batch, checkpoint, evaluate, run_record, standalone, submission, warm_start};

use super::{Error, Kind, chain};

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        let mut mapped = Self::bad_input(chain(&error)).with_file(error.file());
        mapped.field = error.field().map(str::to_owned);
        mapped
    }
}

impl From<auth::Error> for Error {
    fn from(error: auth::Error) -> Self {
        let file = match &error {
            auth::Error::Read { path, .. }
            | auth::Error::Length { path, .. }
            | auth::Error::Character { path } => path.clone(),
        };
        Self::from_chain(Kind::BadInput, &error).with_file(file).with_field("--token-file")
    }
}

impl From<rpc::Error> for Error {
    fn from(error: rpc::Error) -> Self {
        let kind = match &error {
            rpc::Error::BadUrl { .. } => Kind::BadInput,
            rpc::Error::Refused { code, .. } if is_callers_fault(*code) => Kind::BadInput,
            _ => Kind::Failed,
        };
        let mapped = Self::from_chain(kind, &error);
        match error {
            rpc::Error::BadUrl { .. } | rpc::Error::Unreachable { .. } => mapped.with_field("--coordinator"),
            _ => mapped,
        }
    }
}

fn is_callers_fault(code: tonic::Code) -> bool {
    matches!(code, tonic::Code::InvalidArgument | tonic::Code::NotFound | tonic::Code::Unauthenticated)
}

impl From<agent::Error> for Error {
    fn from(error: agent::Error) -> Self {
        Self::from_chain(Kind::Failed, &error)
    }
}

impl From<muster_data::Error> for Error {
    fn from(error: muster_data::Error) -> Self {
        use muster_data::Error as Data;
        let kind = match &error {
            Data::Read { .. } | Data::Missing { .. } | Data::Digest { .. } | Data::Content { .. } => {
                Kind::Failed
            }
            _ => Kind::BadInput,
        };
        let mapped = Self::from_chain(kind, &error);
        match error {
            Data::NoManifest { dir } => mapped.with_file(dir.join("manifest.json")),
            Data::Manifest { path, source } => {
                let digest = matches!(source, muster_proto::dataset::ManifestError::Digest { .. });
                let mapped = mapped.with_file(path);
                if digest { mapped.with_field("digest") } else { mapped }
            }
            Data::Digest { path, .. } => mapped.with_file(path).with_field("digest"),
            Data::Missing { path } | Data::Read { path, .. } | Data::Content { path, .. } => {
                mapped.with_file(path)
            }
            Data::NoColumn { column, .. } => mapped.with_field(column),
            Data::NoPartition { .. } | Data::NoItems { .. } => mapped,
        }
    }
}

impl From<prepare::Error> for Error {
    fn from(error: prepare::Error) -> Self {
        let prepare::Place { file, field, is_input } = error.place();
        let kind = if is_input { Kind::BadInput } else { Kind::Failed };
        Self { file, field, ..Self::from_chain(kind, &error) }
    }
}

impl From<muster_collect::Error> for Error {
    fn from(error: muster_collect::Error) -> Self {
        use muster_collect::{Error as Collect, FolderError as Folder};
        match &error {
            Collect::Exposed(_) => Self::from_chain(Kind::BadInput, &error).with_field("--listen"),
            Collect::Folder(of @ Folder::InUse { dir: path }) => {
                Self::from_chain(Kind::BadInput, of).with_file(path).with_field("--out")
            }
            Collect::Folder(of @ (Folder::Damaged { path, .. } | Folder::Io { path, .. })) => {
                Self::from_chain(Kind::Failed, of).with_file(path).with_field("--out")
            }
            _ => Self::from_chain(Kind::Failed, &error),
        }
    }
}

impl From<checkpoint::Error> for Error {
    fn from(error: checkpoint::Error) -> Self {
        use checkpoint::Error as Checkpoint;
        let kind = match &error {
            Checkpoint::NotFound { .. }
            | Checkpoint::Manifest { .. }
            | Checkpoint::Mismatch { .. }
            | Checkpoint::Taken { .. } => Kind::BadInput,
            Checkpoint::Io { .. }
            | Checkpoint::Piece { .. }
            | Checkpoint::Base { .. }
            | Checkpoint::Panicked { .. } => Kind::Failed,
        };
        let mapped = Self::from_chain(kind, &error);
        match error {
            Checkpoint::Piece { path, piece, .. } => mapped.with_file(path).with_field(piece),
            Checkpoint::Base { base, .. } => mapped.with_file(base),
            Checkpoint::Io { path, .. }
            | Checkpoint::NotFound { path }
            | Checkpoint::Taken { path, .. }
            | Checkpoint::Manifest { path, .. } => mapped.with_file(path),
            Checkpoint::Mismatch { what, .. } => mapped.with_field(what),
            Checkpoint::Panicked { .. } => mapped,
        }
    }
}

impl From<warm_start::Error> for Error {
    fn from(error: warm_start::Error) -> Self {
        use warm_start::Error as Warm;
        match error {
            Warm::Checkpoint(error) => error.into(),
            Warm::Data(error) => error.into(),
            Warm::Collective(_) => Self::from_chain(Kind::Failed, &error),
            Warm::Path(error) => error.into(),
            Warm::Job { ref path, .. }
            | Warm::Unlike { ref path, .. }
            | Warm::OtherModel { ref path, .. }
            | Warm::NoDataset { ref path }
            | Warm::OtherDataset { ref path, .. }
            | Warm::Mapping { ref path, .. }
            | Warm::Strangers { ref path, .. } => {
                let mapped = Self::from_chain(Kind::BadInput, &error).with_file(path);
                match error {
                    Warm::Unlike { field, .. } => mapped.with_field(field),
                    Warm::Mapping { .. } => mapped.with_field("warm_start.items"),
                    _ => mapped,
                }
            }
        }
    }
}

impl From<generate::Error> for Error {
    fn from(error: generate::Error) -> Self {
        use generate::Error as Generate;
        let kind = match &error {
            Generate::Write { .. }
            | Generate::Parquet { .. }
            | Generate::Encode { .. }
            | Generate::Threads { .. } => Kind::Failed,
            Generate::TooSmall { .. }
            | Generate::Events { .. }
            | Generate::Occupied { .. }
            | Generate::EmptySeries => Kind::BadInput,
        };
        let mapped = Self::from_chain(kind, &error);
        match error {
            Generate::Write { path, .. } | Generate::Parquet { path, .. } | Generate::Occupied { path } => {
                mapped.with_file(path).with_field("--out")
            }
            Generate::TooSmall { items, .. } if items < 20 => mapped.with_field("--items"),
            Generate::TooSmall { .. } => mapped.with_field("--users"),
            Generate::Events { .. } => mapped.with_field("--events"),
            Generate::EmptySeries | Generate::Encode { .. } | Generate::Threads { .. } => mapped,
        }
    }
}

impl From<batch::Error> for Error {
    fn from(error: batch::Error) -> Self {
        match error {
            batch::Error::Data(error) => error.into(),
            batch::Error::Column(_) => Self::from_chain(Kind::BadInput, &error).with_field("model"),
            batch::Error::Kind { .. } => Self::from_chain(Kind::BadInput, &error).with_field("model.head"),
        }
    }
}

impl From<submission::Error> for Error {
    fn from(error: submission::Error) -> Self {
        use submission::Error as Refused;
        let mapped = |kind| Self::from_chain(kind, &error);
        match error {
            Refused::Dataset(error) => error.into(),
            Refused::Unfit { source, field } => Self::from(source).with_field(field),
            Refused::CutOnGpu { ref table } => {
                mapped(Kind::BadInput).with_field(format!("tables.column_blocks.{table}"))
            }
            Refused::Path { ref path, .. } => mapped(Kind::BadInput).with_file(path),
            Refused::Encode(_) => mapped(Kind::Failed),
        }
    }
}

impl From<run_record::Error> for Error {
    fn from(error: run_record::Error) -> Self {
        let (kind, path) = match &error {
            run_record::Error::Write { path, .. } => (Kind::Failed, path),
            run_record::Error::Malformed { path, .. } => (Kind::BadInput, path),
        };
        Self::from_chain(kind, &error).with_file(path)
    }
}

impl From<standalone::Error> for Error {
    fn from(error: standalone::Error) -> Self {
        use standalone::Error as Standalone;
        match error {
            Standalone::Checkpoint(error) => error.into(),
            Standalone::Setup(error) => error.into(),
            Standalone::WarmStart(error) => error.into(),
            Standalone::Listen(_) | Standalone::Collective(_) => Self::from_chain(Kind::Failed, &error),
        }
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Data(error) => error.into(),
            SetupError::Popularity(error) => error.into(),
            SetupError::Empty { .. } => Self::from_chain(Kind::BadInput, &error).with_field("--dataset"),
            SetupError::Plan(_) | SetupError::Threads { .. } | SetupError::Collective(_) => {
                Self::from_chain(Kind::Failed, &error)
            }
        }
    }
}

impl From<evaluate::Error> for Error {
    fn from(error: evaluate::Error) -> Self {
        match error {
            evaluate::Error::Data(error) => error.into(),
            other => Self::from_chain(Kind::Failed, &other),
        }
    }
}
