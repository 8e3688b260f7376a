//! Plays a rank: joins its peers, finds what is left of the model, trains, copies, saves, as a real rank does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_cli::lineage::Entry;
use muster_proto::control::{PiecesSaved, Progress, Restored, RestoredFrom};
use muster_proto::ids::Step;
use muster_worker::agent::{Assignment, Control, Ending, JobRunner, Outcome, RunError};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};

use super::mesh::{Door, Mesh, Missing};
use super::world::{Cut, MICRO_BATCHES, Planted, STEPS, TABLE, World, contribution, pass};

const COMPUTE: Duration = Duration::from_millis(20);
const WRITE: Duration = Duration::from_millis(15);
const STEPS_A_COPY: u64 = 4;
const STEPS_A_CHECKPOINT: u64 = 10;

/// One life of a worker process.
pub(crate) struct Trainer {
    pub(crate) name: String,
    pub(crate) world: World,
    pub(crate) door: Door,
    /// Copies of what this rank and the one before it held, newest last.
    pub(crate) copies: Mutex<Vec<Cut>>,
}

impl JobRunner for Trainer {
    fn run(&self, _: Assignment, _: Control) -> Result<Outcome, RunError> {
        Err(RunError::own(&"a played job has no thread"))
    }

    fn start(self: Arc<Self>, assignment: Assignment, control: Control) -> std::io::Result<Ending> {
        let (ended, ending) = oneshot::channel();
        tokio::spawn(async move {
            let stop = Arc::new(Notify::new());
            let stopper = Arc::clone(&stop);
            control.on_abort(Box::new(move |_| stopper.notify_one()));
            let outcome = tokio::select! {
                outcome = self.train(&assignment, &control) => outcome,
                () = stop.notified() => Err(RunError::aborted(&"told to stop")),
            };
            let _ = ended.send(outcome);
        });
        Ok(ending)
    }
}

/// What a rank says in each step.
#[derive(Serialize, Deserialize)]
struct Word {
    contributions: BTreeMap<u32, u64>,
    yields: bool,
}

impl From<Missing> for RunError {
    fn from(Missing(rank): Missing) -> Self {
        Self::peer(&format!("rank {rank} does not answer"), Some(rank))
    }
}

impl Trainer {
    async fn train(&self, assignment: &Assignment, control: &Control) -> Result<Outcome, RunError> {
        let Assignment { fence, rank, peers, plan, .. } = assignment;
        let patience = assignment.failure_detection * 4;
        let mut mesh = Mesh::join(*rank, peers, assignment.collective_token, &self.door, patience).await?;
        let (mut model, from) = self.restore(&mut mesh, assignment).await?;
        let owners = &plan.tables[TABLE].owners;
        model.pieces.retain(|shard, _| owners[*shard as usize] == rank.0);
        let restored = Restored { step: Step(model.step), from, ..Restored::start() };
        control.ready(restored);
        while !control.started() {
            pass(Duration::from_millis(5)).await;
        }
        self.world.take_rank(fence.generation.0, rank.0, &format!("{} {}", self.name, fence.incarnation.0));
        if rank.0 == 0 {
            self.note_named_checkpoint(assignment);
            self.world.note(Entry::Began { generation: fence.generation.0, step: model.step });
        }
        let begun_at = model.step;
        while model.step < STEPS {
            let yields = self.step(&mut mesh, assignment, control, &mut model).await?;
            control.progress(Progress { step: Step(model.step), ..Progress::default() });
            if model.step == begun_at + 1 {
                control.caught_up(0, Duration::ZERO);
            }
            if yields {
                self.keep(merged(mesh.all_gather(model.clone()).await?));
                return Ok(Outcome::Yielded { step: Step(model.step) });
            }
            if model.step.is_multiple_of(STEPS_A_COPY) {
                self.copy(&mut mesh, rank.0, &model).await?;
            }
            if model.step.is_multiple_of(STEPS_A_CHECKPOINT) {
                self.save(&mut mesh, assignment, control, &model).await?;
            }
        }
        let whole = merged(mesh.all_gather(model).await?);
        if rank.0 == 0 {
            self.world.ended.lock().unwrap().push(whole.clone());
        }
        Ok(Outcome::Finished { summary: serde_json::json!({ "digest": whole.digest() }) })
    }

    /// A checkpoint that the coordinator names is one that counts from now on.
    fn note_named_checkpoint(&self, assignment: &Assignment) {
        let Some(folder) = &assignment.checkpoint else { return };
        let manifest = self.world.disk.lock().unwrap().manifests.get(folder).copied();
        match manifest {
            Some((step, _)) => self.world.note(Entry::Saved { step }),
            None => self.world.breaches.lock().unwrap().push(format!("no manifest in {folder}")),
        }
    }

    /// One step; whether all ranks stop after it.
    async fn step(
        &self,
        mesh: &mut Mesh,
        assignment: &Assignment,
        control: &Control,
        model: &mut Cut,
    ) -> Result<bool, RunError> {
        pass(COMPUTE).await;
        let (rank, world_size) = (assignment.rank.0, assignment.plan.world_size);
        let mine = (0..MICRO_BATCHES).filter(|batch| batch % world_size == rank);
        let contributions = mine.map(|batch| (batch, contribution(model.step, batch))).collect();
        let words =
            mesh.all_gather(Word { contributions, yields: control.yield_requested().is_some() }).await?;
        let yields = words.iter().any(|word| word.yields);
        let each: Vec<u64> = words.into_iter().flat_map(|word| word.contributions.into_values()).collect();
        model.apply(each.iter().fold(0, |sum, one| sum.wrapping_add(*one)), each.len() as u64);
        if rank == 0 {
            self.world.note(Entry::Reached { generation: assignment.fence.generation.0, step: model.step });
        }
        Ok(yields)
    }

    /// Keeps this rank's pieces and those of the rank before it.
    async fn copy(&self, mesh: &mut Mesh, rank: u32, model: &Cut) -> Result<(), RunError> {
        let all = mesh.all_gather(model.clone()).await?;
        let before = (rank as usize + all.len() - 1) % all.len();
        let mut copy = merged(vec![all[rank as usize].clone(), all[before].clone()]);
        if self.world.has(Planted::CursorFirst) {
            copy.step += 1;
        }
        self.keep(copy);
        Ok(())
    }

    fn keep(&self, copy: Cut) {
        let mut copies = self.copies.lock().unwrap();
        copies.push(copy);
        if copies.len() > 2 {
            copies.remove(0);
        }
    }

    /// Pieces first, the manifest once all ranks have theirs on disk.
    async fn save(
        &self,
        mesh: &mut Mesh,
        assignment: &Assignment,
        control: &Control,
        model: &Cut,
    ) -> Result<(), RunError> {
        let folder = format!("generation-{:06}/step-{:06}", assignment.fence.generation.0, model.step);
        let early = self.world.has(Planted::ManifestFirst);
        if early {
            self.publish(assignment, control, model, &folder);
        }
        for (shard, piece) in &model.pieces {
            pass(WRITE).await;
            self.world.disk.lock().unwrap().pieces.insert((folder.clone(), *shard), *piece);
        }
        mesh.all_gather(()).await?;
        if !early {
            self.publish(assignment, control, model, &folder);
        }
        Ok(())
    }

    /// Makes a checkpoint count, and tells the coordinator of it.
    fn publish(&self, assignment: &Assignment, control: &Control, model: &Cut, folder: &str) {
        let first = assignment.rank.0 == 0;
        if first {
            let manifest = (model.step, model.samples);
            self.world.disk.lock().unwrap().manifests.entry(folder.to_owned()).or_insert(manifest);
        }
        let manifest = first.then(|| folder.to_owned());
        control.pieces_saved(PiecesSaved { step: Step(model.step), pieces: 1, bytes: 8, manifest });
    }

    /// The newest model of which every piece is left: in memory, on disk, or its beginning.
    async fn restore(
        &self,
        mesh: &mut Mesh,
        assignment: &Assignment,
    ) -> Result<(Cut, RestoredFrom), RunError> {
        let mine = self.copies.lock().unwrap().clone();
        let everyones = mesh.all_gather(mine).await?;
        let saved = self.world.disk.lock().unwrap().load(assignment.checkpoint.as_deref());
        // All have to see the same checkpoint: rank 0's word counts.
        let saved = mesh.all_gather(saved).await?.swap_remove(0);
        if self.world.has(Planted::MixedCut)
            && let Some(newest) = newest_of_each(&everyones)
        {
            return Ok((newest, RestoredFrom::Memory));
        }
        let mut by_step: BTreeMap<u64, Vec<Cut>> = BTreeMap::new();
        for copy in everyones.into_iter().flatten() {
            by_step.entry(copy.step).or_default().push(copy);
        }
        let whole = by_step.into_values().map(merged).rfind(Cut::is_whole);
        Ok(match (whole, saved) {
            (Some(copy), saved) if saved.as_ref().is_none_or(|saved| saved.step <= copy.step) => {
                (copy, RestoredFrom::Memory)
            }
            (_, Some(mut saved)) => {
                if self.world.has(Planted::CursorLost) {
                    saved.step = 0;
                }
                (saved, RestoredFrom::Checkpoint(assignment.checkpoint.clone().unwrap_or_default()))
            }
            _ => (Cut::start(), RestoredFrom::Start),
        })
    }
}

/// One model of the pieces of several.
fn merged(cuts: Vec<Cut>) -> Cut {
    let mut all = cuts.into_iter();
    let mut merged = all.next().unwrap_or_default();
    all.for_each(|cut| merged.pieces.extend(cut.pieces));
    merged
}

fn newest_of_each(everyones: &[Vec<Cut>]) -> Option<Cut> {
    let mut newest: Vec<Cut> = everyones.iter().filter_map(|copies| copies.last().cloned()).collect();
    newest.sort_by_key(|copy| copy.step);
    let step = newest.last()?.step;
    let whole = merged(newest);
    whole.is_whole().then_some(Cut { step, ..whole })
}
