//! What the tables of a job cost on the workers at hand, as the planner asks it, and plans as the workers execute them.
//!
//! Costs are the cost model's for the devices that workers report; the layouts are those that workers execute: row-wise,
//! table-wise, data-parallel. Scores of a table are computed by the owners of its row blocks, so they are a cost of its pieces.
//! Only who holds what follows from all this, never a result.

use std::borrow::Cow;

use muster_proto::capacity::{self, DEVICES, Software, TableOptimizer, TableSpec};
use muster_proto::config;
use muster_proto::control::{Capabilities, DeviceKind, Submission};
use muster_proto::job::tables::{ITEM, OUTPUT};
use muster_proto::job::{Head, JobSpec, OptimizerKind};
use muster_proto::sharding::{self, Placement, ShardingPlan, TableDecl, TablePlan};

use crate::cost::{self, Constants, Layout, Phase, Phases, Setting};
use crate::planner::{self, Choice, Demand, Device, Effort, Problem, Run};

/// The phases that a job's tables have a part in.
const PHASES: [Phase; 7] = [
    Phase::InputExchange,
    Phase::Lookup,
    Phase::ForwardExchange,
    Phase::Loss,
    Phase::BackwardExchange,
    Phase::TableUpdate,
    Phase::AllReduce,
];

/// The layouts that workers execute.
const EXECUTED: [Placement; 3] = [Placement::RowWise, Placement::TableWise, Placement::DataParallel];

/// A plan is part of one step of the core, so it tries little: a two-hundredth, which is enough for a job's few tables.
const EFFORT: Effort = Effort { gap: 1e-3, factor: 1, divisor: 200 };

/// The planner's problem of a job.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    tables: &'a [TableDecl],
    problem: Problem,
}

impl<'a> Pieces<'a> {
    /// The problem of the job on these workers, in rank order.
    pub(super) fn new(submission: &'a Submission, workers: &[&Capabilities]) -> Result<Self, planner::Error> {
        // A spec that this version cannot read is refused by the ranks, in words; the plan needs its sizes only.
        let job = config::parse::<JobSpec>(&submission.spec_toml, "job", &[]).unwrap_or_default();
        let mut classes: Vec<capacity::Device> = Vec::new();
        let mut devices = Vec::with_capacity(workers.len());
        for worker in workers {
            let device = device_of(worker);
            let known = classes.iter().position(|class| *class == device);
            let class = known.unwrap_or_else(|| {
                classes.push(device);
                classes.len() - 1
            });
            devices.push(Device { memory: room(worker, &job), class });
        }
        let model = Model { job: &job, classes: &classes, world_size: workers.len() as u32 };
        let tables = submission.tables.iter().map(|table| model.table(table)).collect();
        // Each rank has its own link to the others, whatever host it is on: what a worker's host is worth is not known.
        let cluster = planner::Cluster { node_sizes: vec![1; devices.len()], devices };
        Ok(Self { tables: &submission.tables, problem: Problem::new(cluster, PHASES.len(), tables)? })
    }

    /// The planner's plan, as workers execute it, with what it costs and what any plan costs at least.
    pub(super) fn solve(&self, micro_batches: u32) -> Result<(ShardingPlan, f64, f64), planner::Error> {
        let found = planner::plan(&self.problem, EFFORT)?;
        let world_size = self.problem.world_size() as u32;
        let chosen: Vec<TableDecl> = self
            .tables
            .iter()
            .map(|table| TableDecl { placement: Some(self.chosen(table, &found).0), ..table.clone() })
            .collect();
        let mut plan = ShardingPlan::simple(&chosen, micro_batches, world_size)
            .map_err(|_| planner::Error::NoDevices)?;
        for table in self.tables {
            if let (Placement::TableWise, Some(rank)) = self.chosen(table, &found) {
                let owners = vec![rank; table.row_blocks as usize];
                plan.tables.insert(table.name.clone(), TablePlan { placement: Placement::TableWise, owners });
            }
        }
        Ok((plan, found.cost, found.bound))
    }

    fn chosen(&self, table: &TableDecl, plan: &planner::Plan) -> (Placement, Option<u32>) {
        let at = self.problem.tables().iter().position(|known| known.name == table.name);
        let at = at.expect("the problem has each table of the job");
        let placement = &plan.placements[at];
        let name = &self.problem.tables()[at].options[placement.option].name;
        let known = EXECUTED.into_iter().find(|executed| name_of(*executed) == *name);
        (known.unwrap_or(Placement::RowWise), placement.ranks.first().copied())
    }

    /// What a plan costs; none where it does not fit or the job forbids it. Row blocks may lie as they like.
    pub(super) fn cost(&self, plan: &ShardingPlan) -> Option<f64> {
        let (phases, ranks) = (PHASES.len(), self.problem.world_size());
        let mut loads = vec![0.0; ranks * phases];
        let mut memory = vec![0.0; ranks];
        for table in self.problem.tables() {
            let planned = plan.tables.get(&table.name)?;
            let option = table.options.iter().find(|option| option.name == name_of(planned.placement))?;
            let blocks = planned.owners.len().max(1) as f64;
            for rank in 0..ranks {
                let owned = planned.owners.iter().filter(|owner| **owner as usize == rank).count() as f64;
                // A piece of the problem stands for an even share; what a rank owns may be more or less.
                let (run, share) = match planned.placement {
                    Placement::RowWise => {
                        let largest = option.runs.iter().max_by_key(|run| run.memory)?;
                        (largest, owned / blocks / largest_share(table, option, blocks))
                    }
                    Placement::TableWise => (option.runs.first()?, owned / blocks),
                    Placement::DataParallel => (option.pieces().nth(rank)?, 1.0),
                };
                let class = self.problem.cluster().devices[rank].class;
                for (load, cost) in loads[rank * phases..].iter_mut().zip(self.problem.cost(run, class)) {
                    *load += share * cost;
                }
                memory[rank] += share * run.memory as f64;
            }
        }
        let fits = memory.iter().zip(&self.problem.cluster().devices);
        let fits = fits.into_iter().all(|(held, device)| *held <= device.memory as f64);
        let peak = |phase: usize| loads.iter().skip(phase).step_by(phases).copied().fold(0.0, f64::max);
        fits.then(|| (0..phases).map(peak).sum())
    }
}

/// The share of the rows that the largest row-wise piece of the problem has.
fn largest_share(table: &planner::Table, option: &Choice, blocks: f64) -> f64 {
    debug_assert!(option.layout == planner::Layout::EveryRank, "{}", table.name);
    (blocks / option.n_pieces() as f64).ceil() / blocks
}

fn name_of(placement: Placement) -> &'static str {
    match placement {
        Placement::RowWise => "row_wise",
        Placement::TableWise => "table_wise",
        Placement::DataParallel => "data_parallel",
    }
}

/// The catalogue's device that is nearest to what a worker reports; unknown cards count as an A100.
fn device_of(worker: &Capabilities) -> capacity::Device {
    let named = |name: &str| DEVICES.iter().find(|device| device.name == name).copied();
    let card = worker.gpu.as_ref().map(|gpu| gpu.name.to_uppercase()).unwrap_or_default();
    let name = match worker.device {
        DeviceKind::Cpu => "cpu_xeon_2",
        DeviceKind::Cuda if card.contains("H200") => "h200_sxm",
        DeviceKind::Cuda if card.contains("H100") => "h100_sxm",
        DeviceKind::Cuda if card.contains("B200") => "b200",
        DeviceKind::Cuda if card.contains("L40") => "l40s",
        DeviceKind::Cuda => "a100_sxm",
    };
    let mut device = named(name).expect("the catalogue has the devices that are named here");
    if worker.device == DeviceKind::Cpu {
        // The catalogue's entry has two cores.
        let cores = f64::from(worker.cpu_threads.max(1)) / 2.0;
        device.flops_f32 *= cores;
        device.flops_f16 *= cores;
        device.memory_rate *= cores;
    }
    device
}

/// Bytes that a worker has for tables; what it does not say is taken as enough.
fn room(worker: &Capabilities, job: &JobSpec) -> u64 {
    let on_host = job.tables.device_cache.is_empty();
    let bytes = match &worker.gpu {
        Some(gpu) if worker.device == DeviceKind::Cuda && on_host => gpu.memory_bytes,
        _ => worker.memory_bytes,
    };
    if bytes == 0 { u64::MAX } else { bytes }
}

/// The job's model on the classes of devices that its workers have.
struct Model<'a> {
    job: &'a JobSpec,
    classes: &'a [capacity::Device],
    world_size: u32,
}

impl Model<'_> {
    fn table(&self, declared: &TableDecl) -> planner::Table {
        // On one rank all are the same; row-wise is what moves least when others join.
        let free = |placement: &Placement| self.world_size > 1 || *placement == Placement::RowWise;
        let open =
            |placement: &Placement| declared.placement.map_or(free(placement), |forced| forced == *placement);
        let options = EXECUTED.into_iter().filter(open).map(|placement| self.choice(declared, placement));
        planner::Table { name: declared.name.clone(), options: options.collect(), demand: Demand::default() }
    }

    fn choice(&self, declared: &TableDecl, placement: Placement) -> Choice {
        let n = self.world_size;
        let blocks = f64::from(declared.row_blocks.max(1));
        let run = |pieces: usize, owned: f64| {
            let share = match placement {
                Placement::RowWise => owned / blocks,
                Placement::TableWise | Placement::DataParallel => 1.0,
            };
            let cost = self
                .classes
                .iter()
                .flat_map(|device| self.cost(declared, *device, placement, (share, owned / blocks)));
            let bytes = self.spec(declared).bytes() * share;
            Run { pieces, cost: cost.collect(), memory: bytes.ceil() as u64 }
        };
        let runs = match placement {
            Placement::TableWise => vec![run(1, blocks)],
            Placement::RowWise | Placement::DataParallel => {
                let owners = even_owners(declared, n);
                let owned: Vec<usize> =
                    (0..n).map(|rank| owners.iter().filter(|owner| **owner == rank).count()).collect();
                owned.chunk_by(|a, b| a == b).map(|alike| run(alike.len(), alike[0] as f64)).collect()
            }
        };
        let layout = match placement {
            Placement::TableWise => planner::Layout::AnyRank,
            Placement::RowWise | Placement::DataParallel => planner::Layout::EveryRank,
        };
        Choice { name: Cow::Borrowed(name_of(placement)), layout, runs }
    }

    /// Seconds of a piece with `share` of the rows that computes the scores of `scored` of them.
    fn cost(
        &self,
        declared: &TableDecl,
        device: capacity::Device,
        placement: Placement,
        (share, scored): (f64, f64),
    ) -> [f64; 7] {
        let spec = self.spec(declared);
        let table = cost::Table::from(&spec);
        let cluster = cost::Cluster::new(device, self.world_size, 1);
        let batch = f64::from(self.job.batch.sequences);
        let setting = Setting {
            batch,
            wire: capacity::Precision::F32,
            software: Software::Muster,
            constants: Constants::default(),
        };
        let layout = match placement {
            // Only a share of the whole differs: rows of sequences are not pooled, so a block's owner sends just its own.
            Placement::RowWise | Placement::TableWise => Layout::TableWise,
            Placement::DataParallel => Layout::DataParallel,
        };
        let option = cost::layout::option(&table, layout, &cluster, &setting);
        let phases = option.pieces.first().map_or(Phases::default(), |piece| piece.cost);
        let mut scores = 0.0;
        if self.is_scored(declared) {
            // Forward and two products backward, of all positions with the rows' width.
            let width = f64::from(declared.dim) + f64::from(u8::from(declared.bias));
            let flops = 6.0 * batch * table.lookups * spec.rows as f64 * width * scored;
            let rate = cluster.device.flops_f32 * setting.constants.dense_share;
            scores = flops / rate;
        }
        PHASES.map(|phase| if phase == Phase::Loss { scores } else { phases.get(phase) * share })
    }

    /// The whole vocabulary's scores are a cost of a softmax's output table.
    fn is_scored(&self, declared: &TableDecl) -> bool {
        let head = &self.job.model.head;
        let output = declared.name == OUTPUT || (declared.name == ITEM && head.tied());
        output && matches!(head, Head::Softmax { .. })
    }

    fn spec(&self, declared: &TableDecl) -> TableSpec {
        let events = f64::from(self.job.batch.max_len);
        let dim = declared.dim + u32::from(declared.bias);
        let mut spec = TableSpec::new(&declared.name, declared.rows, dim, vec![events]);
        spec.pooled = false;
        let kind = self.job.table_optimizer().kind;
        spec.optimizer = match kind {
            OptimizerKind::Sgd => TableOptimizer::Sgd,
            OptimizerKind::Adagrad => TableOptimizer::Adagrad,
            OptimizerKind::RowWiseAdagrad => TableOptimizer::RowWiseAdagrad,
            OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::LazyAdam => TableOptimizer::Adam,
        };
        spec.updates_all_rows =
            self.is_scored(declared) || matches!(kind, OptimizerKind::Adam | OptimizerKind::AdamW);
        spec
    }
}

/// The owners of row blocks when they lie as evenly as they can.
fn even_owners(declared: &TableDecl, world_size: u32) -> Vec<u32> {
    let table = TableDecl { placement: Some(Placement::RowWise), ..declared.clone() };
    let even: Result<ShardingPlan, sharding::Error> =
        ShardingPlan::simple(std::slice::from_ref(&table), 1, world_size);
    even.ok().and_then(|mut plan| plan.tables.remove(&table.name)).map_or(Vec::new(), |plan| plan.owners)
}
