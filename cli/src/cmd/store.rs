//! `muster store`: the store that a cluster's coordinators keep its state in.

use clap::Subcommand;
use muster_coordinator::store::{self, Location, MigrateError, Migrated};
use serde_json::{Value, json};

use crate::cluster::block_on;
use crate::context::Context;
use crate::error::{Error, Kind};
use crate::output::Report;

const EXAMPLES: &str = "\
Examples:
  muster store migrate --from embedded:/var/lib/muster/store --to etcd://10.0.0.1:2379,10.0.0.2:2379/muster
  muster store migrate --from etcd://10.0.0.1:2379/muster --to embedded:store";

/// Moves the state of a cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with stores.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Copy a cluster's state to an empty store, and compare; no coordinator may run meanwhile
    #[command(after_help = EXAMPLES)]
    Migrate(MigrateArgs),
}

/// Flags of `store migrate`.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// The store to read: embedded:PATH, or etcd://HOST:PORT/PREFIX
    #[arg(long, value_name = "STORE")]
    pub from: String,
    /// The store to write, which must be empty
    #[arg(long, value_name = "STORE")]
    pub to: String,
}

/// Does what the flags ask.
///
/// # Errors
/// Where a store cannot be one, is in use or fails, or the target is not empty.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let Action::Migrate(args) = &args.action;
    let location = |text: &str, flag: &str| {
        Location::parse(text).map_err(|error| Error::from_chain(Kind::BadInput, &error).with_field(flag))
    };
    let (from, to) = (location(&args.from, "--from")?, location(&args.to, "--to")?);
    block_on(async {
        let migrated = store::migrate(&from, &to).await.map_err(|error| refused(&error, &from))?;
        context.output.report(&Moved { from: from.to_string(), to: to.to_string(), migrated })
    })
}

/// Whose move it is, and at which flag.
fn refused(error: &MigrateError, from: &Location) -> Error {
    use MigrateError as Migrate;
    let kind = match error {
        Migrate::Memory | Migrate::NoSource { .. } | Migrate::NotEmpty { .. } => Kind::BadInput,
        Migrate::InUse { .. } | Migrate::Unfinished { .. } => Kind::Failed,
        Migrate::Differs { .. } | Migrate::Store { .. } => Kind::Failed,
    };
    let flag = match error {
        Migrate::Memory if *from == Location::Memory => "--from",
        Migrate::InUse { location, .. } | Migrate::Store { location, .. }
            if *location == from.to_string() =>
        {
            "--from"
        }
        Migrate::NoSource { .. } | Migrate::Unfinished { .. } => "--from",
        _ => "--to",
    };
    Error::from_chain(kind, error).with_field(flag)
}

struct Moved {
    from: String,
    to: String,
    migrated: Migrated,
}

impl Report for Moved {
    fn text(&self) -> String {
        let Migrated { keys, bytes } = self.migrated;
        format!("{keys} keys ({bytes} bytes) copied from {} to {} and compared", self.from, self.to)
    }

    fn json(&self) -> Value {
        let Migrated { keys, bytes } = self.migrated;
        json!({"from": self.from, "to": self.to, "keys": keys, "bytes": bytes})
    }
}
