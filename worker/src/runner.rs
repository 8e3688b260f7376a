//! Runs a job that the coordinator assigned: connect, load, train, report.

mod hooks;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use muster_collective::{AbortHandle, Collective, CollectiveExt, Config, Transport, connect};
use muster_kernels::cuda::nccl::Failure;
use muster_kernels::cuda::{Device, Settings};
use muster_proto::checkpoint::Writer;
use muster_proto::config;
use muster_proto::control::DeviceKind;
use muster_proto::control::Peer;
use muster_proto::job::JobSpec;
use serde_json::json;

use crate::agent::{Assignment, Control, JobRunner, Outcome, RunError};
use crate::checkpoint::{self, Location};
use crate::train::{self, Finished, Place, Setup, SetupError, Trainer};
use hooks::AgentHooks;

/// A wait inside a collective ends after this many times the failure detection: the coordinator's push and closed
/// links end it much sooner, so this only catches a peer that is alive but stuck.
const PATIENCE: u32 = 24;

/// Trains jobs on this worker's threads.
#[derive(Debug, Clone, Copy)]
pub struct Runner {
    /// How ranks exchange data.
    pub transport: Transport,
    /// The number of the GPU among those that the process sees, for jobs on GPUs.
    pub gpu: usize,
}

/// Why a job failed on this rank.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Job(#[from] config::Error),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Train(#[from] train::Error),
    #[error(transparent)]
    Device(#[from] muster_kernels::cuda::Error),
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    #[error("the collectives could not connect: {0}")]
    Connect(#[from] muster_collective::Error),
    #[error("rank {rank} has the address {address:?}, which is not HOST:PORT")]
    Address { rank: u32, address: String },
    #[error("{0}")]
    Aborted(String),
    #[error(transparent)]
    History(#[from] hooks::Error),
}

impl JobRunner for Runner {
    fn run(&self, assignment: Assignment, control: Control) -> Result<Outcome, RunError> {
        // The agent calls this inside its span of (job, generation, rank).
        self.run_job(&assignment, &control).map_err(|error| {
            tracing::error!(error = %error, "job failed on this rank");
            blame(&error)
        })
    }
}

impl Runner {
    fn run_job(&self, assignment: &Assignment, control: &Control) -> Result<Outcome, Error> {
        let job: JobSpec = config::parse(&assignment.spec_toml, "job", &[])?;
        let (world, threads) = (assignment.world_size.0, assignment.threads as usize);
        let setup = Setup::open(job, &assignment.dataset_dir, Some(assignment.plan.clone()), world, threads)?;
        let mut collective = self.connect(assignment, control)?;
        let mut trainer = setup.build(&mut *collective)?;
        let run = Location::of_run(&assignment.run_dir, trainer.job.checkpoint.location.as_deref())?;
        resume(&mut trainer, &run, &mut *collective)?;
        if assignment.device == DeviceKind::Cuda {
            trainer.move_to(Device::open(Settings::of(self.gpu))?)?;
        }
        let steps_per_epoch = trainer.steps_per_epoch();
        tracing::info!(step = trainer.step, steps_per_epoch, "ready to train");
        control.ready_and_wait_start().map_err(|aborted| Error::Aborted(aborted.to_string()))?;
        let place = Place {
            run: Some(run.clone()),
            writer: Writer {
                generation: assignment.fence.generation.0,
                incarnation: assignment.fence.incarnation.0,
            },
            keep: trainer.job.checkpoint.keep as usize,
        };
        let run_dir = (assignment.rank.0 == 0).then_some(&assignment.run_dir);
        let mut hooks = AgentHooks::new(control.clone(), run_dir)?;
        let finished = train::train(&mut trainer, &place, &mut hooks, &mut *collective)?;
        hooks.close()?;
        Ok(Outcome { summary: summary(assignment, &trainer, &finished) })
    }

    fn connect(&self, assignment: &Assignment, control: &Control) -> Result<Box<dyn Collective>, Error> {
        let abort = AbortHandle::new()?;
        let handle = abort.clone();
        control.on_abort(Box::new(move |reason| handle.abort(reason)));
        let mut secret = [0_u8; 16];
        secret.copy_from_slice(&assignment.collective_token[..16]);
        Ok(connect(Config {
            rank: assignment.rank.0 as usize,
            world_size: assignment.world_size.0 as usize,
            job: assignment.fence.job.to_string(),
            generation: assignment.fence.generation.0,
            secret,
            listener: &assignment.listener,
            peers: assignment.peers.iter().map(address).collect::<Result<_, _>>()?,
            timeout: patience(assignment.failure_detection),
            max_message: Config::DEFAULT_MAX_MESSAGE,
            transport: self.transport,
            abort,
        })?)
    }
}

fn patience(failure_detection: Duration) -> Duration {
    failure_detection * PATIENCE
}

fn address(peer: &Peer) -> Result<SocketAddr, Error> {
    let unusable = || Error::Address { rank: peer.rank.0, address: peer.address.clone() };
    peer.address.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(unusable)
}

/// Continues from the newest checkpoint of the run, if it has one; rank 0 says which, so that all ranks
/// take the same.
fn resume(trainer: &mut Trainer, run: &Location, collective: &mut dyn Collective) -> Result<(), Error> {
    let mut chosen = Vec::new();
    if collective.rank() == 0 {
        match checkpoint::find(&run.address(), false) {
            Ok(reader) => chosen = reader.location.address().to_string_lossy().into_owned().into_bytes(),
            Err(checkpoint::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut all = vec![chosen.clone()];
    if collective.world_size() > 1 {
        collective.all_gather::<u8>(&chosen, &mut all)?;
    }
    let folder = String::from_utf8_lossy(&all[0]).into_owned();
    if folder.is_empty() {
        return Ok(());
    }
    let reader = checkpoint::Reader::open(&Location::of(folder.as_ref())?)?;
    trainer.resume(&reader)?;
    tracing::info!(step = trainer.step, checkpoint = %folder, "resumed");
    Ok(())
}

fn summary(assignment: &Assignment, trainer: &Trainer, finished: &Finished) -> serde_json::Value {
    let seconds = finished.training.as_secs_f64();
    json!({
        "run": assignment.run_dir,
        "generation": assignment.fence.generation.0,
        "world_size": assignment.world_size.0,
        "steps": finished.steps,
        "steps_in_this_run": finished.steps_here,
        "samples": finished.samples,
        "targets": finished.targets,
        "training_seconds": seconds,
        "tokens_per_second": if seconds > 0.0 { finished.targets as f64 / seconds } else { 0.0 },
        "metrics": finished.test.metrics,
        "users": finished.test.users,
        "ties": finished.test.ties,
        "seen_filtered": finished.test.seen_filtered,
        "validation": finished.validation,
        "model_digest": finished.model_digest,
        "checkpoint": finished.checkpoint,
        "reproducible": trainer.job.reproducible,
        "drained": finished.drained,
    })
}

/// What ended the ranks' NCCL, if that is why the job failed.
fn nccl_failure(error: &Error) -> Option<&Failure> {
    use muster_kernels::cuda::Error as D;
    match error {
        Error::Device(D::Communicator { failure, .. })
        | Error::Train(train::Error::Device(D::Communicator { failure, .. })) => Some(failure),
        _ => None,
    }
}

/// Whose fault a failure is: the coordinator waits for the real culprit when it was a peer's.
fn blame(error: &Error) -> RunError {
    use muster_collective::Error as C;
    if let Some(failure) = nccl_failure(error) {
        return match failure {
            Failure::Cancelled { .. } => RunError::aborted(error),
            Failure::Join { .. } | Failure::Nccl { .. } | Failure::Deadline { .. } => RunError::peer(error),
        };
    }
    let collective = match error {
        Error::Connect(e)
        | Error::Setup(SetupError::Collective(e))
        | Error::Train(train::Error::Collective(e)) => Some(e),
        Error::Train(train::Error::Exchange(crate::embedding::Error::Collective(e))) => Some(e),
        Error::Train(train::Error::Head(crate::loss::Error::Collective(e))) => Some(e),
        Error::Train(train::Error::Evaluation(crate::evaluate::Error::Collective(e))) => Some(e),
        _ => None,
    };
    match (error, collective) {
        (Error::Aborted(_) | Error::Train(train::Error::Aborted { .. }), _)
        | (_, Some(C::Aborted { .. })) => RunError::aborted(error),
        (Error::Train(train::Error::PeerDisk { .. }), _)
        | (_, Some(C::PeerLost { .. } | C::Timeout { .. })) => RunError::peer(error),
        _ => RunError::own(error),
    }
}
