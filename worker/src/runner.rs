//! Runs a job that the coordinator assigned: connect, load, train, report.

mod flight;
mod hooks;
mod task;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use muster_collective::{AbortHandle, Collective, CollectiveExt, Config, Transport, connect};
use muster_kernels::cuda::nccl::Failure;
use muster_kernels::cuda::{Device, Settings};
use muster_proto::checkpoint::{MANIFEST_FILE, Writer};
use muster_proto::config;
use muster_proto::control::{DeviceKind, Peer, Restored, RestoredFrom};
use muster_proto::ids::{JobId, Rank, Step};
use muster_proto::job::JobSpec;
use serde_json::json;

use crate::agent::{Assignment, Control, JobRunner, Outcome, RunError, TaskControl, TaskOrder};
use crate::checkpoint::{self, Location};
use crate::copies::{self, Copies, Memory, Spent};
use crate::train::{self, End, Finished, Kept, Place, Setup, SetupError, Trainer};
use crate::warm_start;
use hooks::AgentHooks;

/// A wait inside a collective ends after this many times the failure detection: the coordinator's push and closed
/// links end it much sooner, so this only catches a peer that is alive but stuck.
const PATIENCE: u32 = 24;

/// A peer whose host answers nothing for this many times the failure detection is lost, even where the coordinator
/// still hears it; one that is silent to everybody is found lost by the coordinator before.
const SILENCE: u32 = 2;

/// Trains jobs on this worker's threads, and keeps what later generations of a job go on from.
#[derive(Debug)]
pub struct Runner {
    transport: Transport,
    /// The number of the GPU among those that the process sees, for jobs on GPUs.
    gpu: usize,
    /// Copies of the last job that ran here; taken out while it runs.
    kept: Mutex<Option<(JobId, Copies)>>,
}

impl Runner {
    /// Makes a runner whose ranks exchange data by `transport`, and that computes on the GPU of that number where a job
    /// is for GPUs.
    #[must_use]
    pub fn new(transport: Transport, gpu: usize) -> Self {
        Self { transport, gpu, kept: Mutex::new(None) }
    }

    // A panic of the job leaves what is kept whole: it is put in and taken out in one piece.
    fn kept(&self) -> MutexGuard<'_, Option<(JobId, Copies)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a job failed on this rank.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Job(#[from] config::Error),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    WarmStart(#[from] warm_start::Error),
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
        let job = assignment.fence.job;
        let of_job = |(kept, copies): (JobId, Copies)| (kept == job).then_some(copies);
        let mut copies = self.kept().take().and_then(of_job).unwrap_or_default();
        let outcome = self.run_job(&assignment, &control, &mut copies);
        if !matches!(outcome, Ok(Outcome::Finished { .. })) {
            *self.kept() = Some((job, copies));
        }
        outcome.map_err(|error| {
            tracing::error!(error = %error, "job stopped on this rank");
            blame(&error)
        })
    }

    fn run_task(&self, order: TaskOrder, control: &TaskControl) -> Result<serde_json::Value, String> {
        task::run(&order, control)
    }
}

impl Runner {
    fn run_job(
        &self,
        assignment: &Assignment,
        control: &Control,
        copies: &mut Copies,
    ) -> Result<Outcome, Error> {
        let begun = Instant::now();
        let job: JobSpec = config::parse(&assignment.spec_toml, "job", &[])?;
        let (world, threads) = (assignment.world_size.0, assignment.threads as usize);
        let setup = Setup::open(job, &assignment.dataset_dir, Some(assignment.plan.clone()), world, threads)?;
        let mut collective = self.connect(assignment, control)?;
        let connect = begun.elapsed();
        let ended = self.train(assignment, control, copies, setup, (&mut *collective, begun, connect));
        ended.inspect_err(|error| note_flight(assignment, &*collective, error))
    }

    /// Everything after the ranks are connected, which they began to be at `begun` and were after `connect`.
    fn train(
        &self,
        assignment: &Assignment,
        control: &Control,
        copies: &mut Copies,
        setup: Setup,
        (collective, begun, connect): (&mut dyn Collective, Instant, Duration),
    ) -> Result<Outcome, Error> {
        let mut trainer = setup.build(collective)?;
        let run = Location::of_run(&assignment.run_dir, trainer.job.checkpoint.location.as_deref())?;
        let (from, memory) = resume(&mut trainer, copies, &run, assignment, collective)?;
        if assignment.device == DeviceKind::Cuda {
            trainer.move_to(Device::open(Settings::of(self.gpu))?)?;
        }
        let load = begun.elapsed().saturating_sub(connect);
        let restored = Restored { step: Step(trainer.step), from, connect, load };
        tracing::info!(step = trainer.step, from = ?restored.from, ?connect, ?load, "ready to train");
        let run_dir = (assignment.rank.0 == 0).then_some(&assignment.run_dir);
        let mut hooks = AgentHooks::new(control.clone(), run_dir)?;
        let (generation, world) = (assignment.fence.generation.0, assignment.world_size.0);
        control
            .ready_and_wait_start(restored.clone())
            .map_err(|aborted| Error::Aborted(aborted.to_string()))?;
        hooks.began(generation, world, &restored);
        let place = Place {
            run: Some(run),
            writer: Writer { generation, incarnation: assignment.fence.incarnation.0 },
            keep: trainer.job.checkpoint.keep as usize,
        };
        let kept = Kept { copies, memory };
        let end = train::train(&mut trainer, &place, kept, &mut hooks, collective)?;
        hooks.close()?;
        Ok(match end {
            End::Finished(finished) => {
                Outcome::Finished { summary: summary(assignment, &trainer, &finished) }
            }
            End::Yielded { step } => Outcome::Yielded { step: Step(step) },
        })
    }

    fn connect(&self, assignment: &Assignment, control: &Control) -> Result<Box<dyn Collective>, Error> {
        let abort = AbortHandle::new()?;
        let handle = abort.clone();
        control.on_abort(Box::new(move |reason| handle.abort(reason)));
        let watched = abort.clone();
        control.on_watch(Box::new(move || watched.beats()));
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
            timeout: assignment.failure_detection * PATIENCE,
            silence: assignment.failure_detection * SILENCE,
            max_message: Config::DEFAULT_MAX_MESSAGE,
            transport: self.transport,
            abort,
        })?)
    }
}

/// Leaves a trace of what the rank was doing when its job stopped; that it cannot is not another failure.
fn note_flight(assignment: &Assignment, collective: &dyn Collective, error: &Error) {
    let flights = collective.flights();
    if let Some(last) = flights.last() {
        tracing::warn!(seq = last.seq, op = %last.op, bytes = last.bytes, "stopped after this collective");
    }
    let Assignment { fence, rank, run_dir, .. } = assignment;
    if let Err(error) = flight::save(run_dir, fence, *rank, &flights, &error.to_string()) {
        tracing::warn!(%error, "the last collectives could not be written down");
    }
}

fn address(peer: &Peer) -> Result<SocketAddr, Error> {
    let unusable = || Error::Address { rank: peer.rank.0, address: peer.address.clone() };
    peer.address.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(unusable)
}

/// Goes on from the newest that there is: copies in the ranks' memory, or the checkpoint that the job counts on (in its
/// first generation the newest of the run); else from the job's parent or initial values. Collective.
fn resume(
    trainer: &mut Trainer,
    copies: &mut Copies,
    run: &Location,
    assignment: &Assignment,
    collective: &mut dyn Collective,
) -> Result<(RestoredFrom, Memory), Error> {
    let named = assignment.checkpoint.as_deref();
    let reader = checkpoint_of(run, named, collective)?;
    let step = reader.as_ref().map(|reader| reader.manifest.step);
    let memory = copies::restore(copies, trainer, step, collective)?;
    let from = match (reader, memory.totals) {
        (_, Some(_)) => RestoredFrom::Memory,
        (None, None) => {
            warm_start::begin(trainer, collective)?;
            RestoredFrom::Start
        }
        (Some(reader), None) => {
            trainer.resume(&reader)?;
            RestoredFrom::Checkpoint(reader.file(MANIFEST_FILE).display().to_string())
        }
    };
    Ok((from, memory))
}

/// The checkpoint to go on from, the same on all ranks: rank 0 looks for it, unless the job names it. Collective.
fn checkpoint_of(
    run: &Location,
    named: Option<&str>,
    collective: &mut dyn Collective,
) -> Result<Option<checkpoint::Reader>, Error> {
    if let Some(manifest) = named {
        let folder = manifest.strip_suffix(MANIFEST_FILE).unwrap_or(manifest).trim_end_matches('/');
        return Ok(Some(checkpoint::Reader::open(&Location::of(folder.as_ref())?)?));
    }
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
    match folder.is_empty() {
        true => Ok(None),
        false => Ok(Some(checkpoint::Reader::open(&Location::of(folder.as_ref())?)?)),
    }
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
        "copies": spent(&finished.copies),
        "checkpoints": spent(&finished.checkpoints),
        "measured": finished.measured,
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

fn spent(spent: &Spent) -> serde_json::Value {
    json!({ "count": spent.count, "bytes": spent.bytes, "seconds": spent.time.as_secs_f64() })
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
            Failure::Join { .. } | Failure::Nccl { .. } | Failure::Deadline { .. } => {
                RunError::peer(error, None)
            }
        };
    }
    let collective = match error {
        Error::Connect(e)
        | Error::Setup(SetupError::Collective(e))
        | Error::WarmStart(warm_start::Error::Collective(e))
        | Error::Train(train::Error::Collective(e)) => Some(e),
        Error::Train(train::Error::Exchange(crate::embedding::Error::Collective(e))) => Some(e),
        Error::Train(train::Error::Head(crate::loss::Error::Collective(e))) => Some(e),
        Error::Train(train::Error::Evaluation(crate::evaluate::Error::Collective(e))) => Some(e),
        _ => None,
    };
    match (error, collective) {
        (Error::Aborted(_) | Error::Train(train::Error::Aborted { .. }), _)
        | (_, Some(C::Aborted { .. })) => RunError::aborted(error),
        (Error::Train(train::Error::PeerDisk { rank }), _) => RunError::peer(error, Some(Rank(*rank as u32))),
        // A link that was closed says nothing about its peer's host: the peer died, which the coordinator sees, or it
        // stopped for a loss of its own. Only a rank that was not heard is named.
        (_, Some(C::PeerLost { .. })) => RunError::peer(error, None),
        (_, Some(C::PeerSilent { rank } | C::CutOff { rank } | C::Connect { peer: rank, .. })) => {
            RunError::peer(error, Some(Rank(*rank as u32)))
        }
        (_, Some(C::Timeout { waiting_for, .. } | C::ConnectTimeout { waiting_for })) => {
            RunError::peer(error, waiting_for.first().map(|rank| Rank(*rank as u32)))
        }
        _ => RunError::own(error),
    }
}
