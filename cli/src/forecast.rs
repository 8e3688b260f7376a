//! Forecasts of a job's steps on this machine: from its calibration where there is one, else from the catalogue.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use muster_core::capacity::answer::cluster;
use muster_core::capacity::import::import;
use muster_core::capacity::{Wish, place_as};
use muster_core::cost::host::{Curves, Subject, forecast};
use muster_core::cost::{Phase, Workload};
use muster_data::Dataset;
use muster_proto::capacity::CapacitySpec;
use muster_proto::config;
use muster_proto::control::{Capabilities, DeviceKind, Submission};
use muster_proto::job::JobSpec;
use muster_proto::measured::{Calibration, Forecast};
use muster_proto::sharding::ShardingPlan;
use muster_worker::workload::Counter;

use crate::error::{Error, Kind};
use crate::local::threads_each;

/// A calibration, and the file that it is from.
#[derive(Debug, Clone)]
pub struct Known {
    /// What was measured.
    pub calibration: Calibration,
    /// Where it lies.
    pub path: PathBuf,
}

/// Where `muster calibrate` leaves what it measured, and forecasts look for it; none without a home folder.
pub fn default_path() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.map(|cache| cache.join("muster").join("calibration.toml"))
}

/// Reads the calibration that is named, or else this machine's, if there is one.
///
/// # Errors
/// A named file that cannot be read, or one that is no calibration.
pub fn known(named: Option<&Path>) -> Result<Option<Known>, Error> {
    let path = match named {
        Some(path) => Some(path.to_path_buf()),
        None => default_path().filter(|path| path.is_file()),
    };
    let Some(path) = path else { return Ok(None) };
    let calibration = config::load::<Calibration>(&path, &[])?;
    Ok(Some(Known { calibration, path }))
}

/// On what a job is forecast to run: workers of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// Their number.
    pub workers: u32,
    /// Threads of each.
    pub threads: u32,
    /// The machine's calibration.
    pub known: Option<&'a Known>,
}

/// Forecasts a job that is about to be submitted.
///
/// # Errors
/// A dataset that cannot be read, pieces that fit nowhere, or a calibration that lacks a term.
pub fn of(job: &JobSpec, submission: &Submission, here: Here<'_>) -> Result<Forecast, Error> {
    counted(job, submission, here).map(|(forecast, _)| forecast)
}

/// What a forecast is made from: the plan, and what the job's steps are made of under it.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The plan.
    pub plan: ShardingPlan,
    /// The steps.
    pub workload: muster_proto::measured::Workload,
}

/// As [`of`], with what it was made from; the catalogue's counts nothing.
///
/// # Errors
/// As [`of`].
pub fn counted(
    job: &JobSpec,
    submission: &Submission,
    here: Here<'_>,
) -> Result<(Forecast, Option<Counted>), Error> {
    // Pieces of a step were measured on whole rows.
    let cut = submission.tables.iter().any(|table| table.columns.is_some());
    let Some(known) = here.known.filter(|_| !cut) else {
        return Ok((of_catalogue(job, submission, here)?, None));
    };
    let plan = plan(submission, here)?;
    let counter = Counter::open(job.clone(), Path::new(&submission.dataset_dir))?;
    let workload = counter.count(&plan);
    let subject = Subject { job, workload: &workload, plan: &plan, threads: here.threads as usize };
    let forecast = forecast(&subject, &Curves::new(&known.calibration))
        .map_err(|error| Error::from_chain(Kind::BadInput, &error).with_file(&known.path))?;
    Ok((forecast, Some(Counted { plan, workload })))
}

/// The plan that a coordinator makes for workers of this machine.
fn plan(submission: &Submission, here: Here<'_>) -> Result<ShardingPlan, Error> {
    let worker = Capabilities {
        name: "forecast".into(),
        host: "here".into(),
        cpu_threads: here.threads,
        memory_bytes: 0,
        device: DeviceKind::Cpu,
        data_plane_address: String::new(),
        numerics: String::new(),
        muster_version: String::new(),
        gpu: None,
    };
    let workers: Vec<&Capabilities> = (0..here.workers).map(|_| &worker).collect();
    muster_core::plan_of(submission, &workers).map_err(|error| Error::from_chain(Kind::BadInput, &error))
}

/// The catalogue's host for each worker; its memory model is of other programs too, so no bytes are told.
fn of_catalogue(job: &JobSpec, submission: &Submission, here: Here<'_>) -> Result<Forecast, Error> {
    let device = "cpu_xeon_2";
    let text = format!(
        "name = \"{}\"\n[[pools]]\nname = \"here\"\ndevice = \"{device}\"\nnodes = {}\n[run]\nbatch = 1\nsamples = 1\n",
        job.name, here.workers
    );
    let mut spec: CapacitySpec = config::parse(&text, "catalogue", &[])?;
    let dataset = Dataset::open(Path::new(&submission.dataset_dir))?;
    import(&mut spec, job, dataset.manifest())
        .map_err(|error| Error::from_chain(Kind::BadInput, &error).with_field("model.features"))?;
    let pool = &spec.pools[0];
    let card = pool.device().ok_or_else(|| Error::failed(format!("the catalogue has no {device}")))?;
    let workload = Workload::from_spec(&spec);
    let (placement, _) = place_as(&workload, &cluster(pool, card, pool.nodes), &Wish::default())
        .map_err(|error| Error::from_chain(Kind::BadInput, &error))?;
    let phases: BTreeMap<Phase, f64> =
        Phase::ALL.into_iter().map(|phase| (phase, placement.step.phases.get(phase))).collect();
    let counted: f64 = phases.values().sum();
    let names = spec.tables.iter().map(|table| table.name.clone());
    let layouts = names.zip(placement.tables.iter().map(|(layout, _)| layout.name())).collect();
    Ok(Forecast {
        source: format!("catalogue, {device}"),
        workers: here.workers,
        threads: here.threads,
        layouts,
        rest: placement.step.seconds - counted,
        phases,
        ..Forecast::default()
    })
}

/// The forecast of a job that trains on processors of this machine; none, and a line in the log, where there can be none: a
/// forecast is no reason to refuse a job.
pub fn if_known(
    job: &JobSpec,
    submission: &Submission,
    (workers, threads): (u32, Option<u32>),
    named: Option<&Path>,
) -> Result<Option<Forecast>, Error> {
    let threads = threads.unwrap_or_else(|| threads_each(workers));
    let found =
        known(named).and_then(|known| of(job, submission, Here { workers, threads, known: known.as_ref() }));
    if named.is_some() {
        return found.map(Some);
    }
    Ok(found.inspect_err(|error| tracing::warn!(%error, "the job's steps are not forecast")).ok())
}
