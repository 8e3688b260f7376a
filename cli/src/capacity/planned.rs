//! A model's plan on one pool: what lies where, what each rank does and holds, what binds, what to buy next.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use muster_core::capacity::answer::cluster;
use muster_core::capacity::purchase::{Purchase, purchases};
use muster_core::capacity::{Placement, Wish, place_as};
use muster_core::cost::{Cluster, Phase, Phases, Workload, memory, step};
use muster_core::planner::Moves;
use muster_proto::capacity::{CapacitySpec, Device, PoolSpec};
use serde_json::{Map, Value, json};

use super::question::spoken;
use super::unanswered::no_place;
use crate::error::Error;
use crate::output::Report;
use crate::table::{Table, grouped, key, runs};

/// The version of the JSON's form; a change that would break a reader raises it.
pub const SCHEMA: u32 = 1;

/// A plan with what people ask of it.
#[derive(Debug, Clone)]
pub struct Planned {
    spec: CapacitySpec,
    pool: PoolSpec,
    device: Device,
    cluster: Cluster,
    placement: Placement,
    /// Seconds of each rank in each phase, with what is beside the tables.
    pub ranks: Vec<Phases>,
    moves: Option<Moves>,
    purchases: Vec<Purchase>,
    /// How long planning took.
    pub time: Duration,
}

/// Plans the model of `spec` on the pool of that name, or on the first.
///
/// # Errors
/// No such pool; a model that does not fit, with the table and the bytes missing; demands that contradict.
pub fn plan(spec: &CapacitySpec, file: &Path, pool: Option<&str>, wish: &Wish) -> Result<Planned, Error> {
    let found = match pool {
        None => spec.pools.first(),
        Some(name) => spec.pools.iter().find(|pool| pool.name == name),
    };
    let pool = found.ok_or_else(|| {
        let known: Vec<&str> = spec.pools.iter().map(|pool| pool.name.as_str()).collect();
        Error::bad_input(format!("no pool has that name; the pools are: {}", known.join(", ")))
            .with_file(file)
            .with_field("--pool")
    })?;
    let device = pool
        .device()
        .ok_or_else(|| Error::bad_input(format!("no device {}", pool.device)).with_file(file))?;
    let cluster = cluster(pool, device, pool.nodes);
    let workload = Workload::from_spec(spec);
    let (placement, moves) =
        place_as(&workload, &cluster, wish).map_err(|error| no_place(&error, spec, file))?;
    let ranks = placement.loads.iter().map(|load| step::rank_phases(&workload, load, &cluster)).collect();
    let purchases = purchases(spec, pool, device);
    let (spec, pool) = (spec.clone(), pool.clone());
    Ok(Planned { spec, pool, device, cluster, placement, ranks, moves, purchases, time: Duration::ZERO })
}

impl Planned {
    fn assignment(&self) -> impl Iterator<Item = (&str, String, &[usize])> {
        let placed = self.spec.tables.iter().zip(&self.placement.tables);
        placed.map(|(table, (layout, ranks))| (table.name.as_str(), layout.name(), ranks.as_slice()))
    }

    /// The phases that take any time on some rank.
    pub fn phases(&self) -> Vec<Phase> {
        let takes = |phase: &Phase| self.ranks.iter().any(|rank| rank.get(*phase) > 0.0);
        Phase::ALL.into_iter().filter(takes).collect()
    }

    /// Its title: pool, nodes, devices.
    pub fn title(&self) -> String {
        let (nodes, ranks) = (self.pool.nodes, self.cluster.world_size);
        let of = if nodes == 1 { "node" } else { "nodes" };
        format!(
            "{}: {nodes} {of} of {} {}, {ranks} ranks",
            self.pool.name, self.cluster.per_node, self.device.name
        )
    }

    /// The phase that takes the largest share, the share, and the rank that takes the longest.
    fn bottleneck(&self) -> (Phase, f64, usize) {
        let phases = &self.placement.step.phases;
        let longest = Phase::ALL.into_iter().max_by(|a, b| phases.get(*a).total_cmp(&phases.get(*b)));
        let phase = longest.unwrap_or(Phase::Dense);
        let at = |rank: usize| self.ranks[rank].get(phase);
        let rank = (0..self.ranks.len()).max_by(|a, b| at(*a).total_cmp(&at(*b)).then(b.cmp(a))).unwrap_or(0);
        (phase, phases.get(phase) / self.placement.step.seconds, rank)
    }

    fn bottleneck_text(&self) -> String {
        let (phase, share, rank) = self.bottleneck();
        let longest = self.ranks[rank].get(phase);
        let mean = self.ranks.iter().map(|rank| rank.get(phase)).sum::<f64>() / self.ranks.len() as f64;
        let whose = if longest <= mean * 1.01 {
            "all ranks alike".to_owned()
        } else {
            let held = self.assignment().filter(|(_, _, ranks)| ranks.contains(&rank));
            let held: Vec<&str> = held.map(|(name, ..)| name).take(4).collect();
            format!(
                "rank {rank} has {} of it and ranks have {} on average; it holds parts of {}",
                spoken(longest),
                spoken(mean),
                held.join(", ")
            )
        };
        format!("bottleneck: {} takes {:.0} % of a step, {whose}", phase.name(), share * 100.0)
    }

    fn tables_text(&self) -> String {
        let mut table = Table::new(["table", "rows", "dim", "layout", "ranks"]);
        for (spec, (name, layout, ranks)) in self.spec.tables.iter().zip(self.assignment()) {
            let ranks = ranks_text(ranks, self.ranks.len());
            table.row([name.to_owned(), grouped(spec.rows), spec.dim.to_string(), layout, ranks]);
        }
        table.render()
    }

    /// A line a rank, neighbours that do and hold the same in one.
    fn ranks_text(&self) -> String {
        let phases = self.phases();
        let names = phases.iter().map(|phase| format!("{} ms", phase.name()));
        let mut table = Table::new(["ranks".to_owned()].into_iter().chain(names).chain(["GB".to_owned()]));
        let line = |rank: usize| {
            let times = phases.iter().map(|phase| format!("{:.3}", self.ranks[rank].get(*phase) * 1e3));
            let held = format!("{:.2}", self.placement.memory[rank] / 1e9);
            times.chain([held]).collect::<Vec<String>>()
        };
        let lines: Vec<(usize, Vec<String>)> = (0..self.ranks.len()).map(|rank| (rank, line(rank))).collect();
        for alike in lines.chunk_by(|a, b| a.1 == b.1) {
            let (first, last) = (alike[0].0, alike[alike.len() - 1].0);
            let ranks = if first == last { first.to_string() } else { format!("{first}-{last}") };
            table.row([ranks].into_iter().chain(alike[0].1.iter().cloned()));
        }
        table.render()
    }

    fn price(&self) -> Option<f64> {
        self.pool.price_per_device_hour.map(|price| price * self.cluster.n())
    }

    fn purchases_text(&self) -> String {
        let mut table = Table::new(["purchase", "step", "change", "price an hour", "price change"]);
        let here = self.placement.step.seconds;
        for Purchase { what, seconds, price } in &self.purchases {
            let change = |new: f64, old: f64| format!("{:+.1} %", (new / old - 1.0) * 100.0);
            let price_text = price.map_or_else(|| "not known".to_owned(), |price| format!("{price:.2}"));
            let paid = self.price().filter(|old| *old > 0.0).zip(*price);
            let price_change = paid.map_or_else(String::new, |(old, new)| change(new, old));
            match seconds {
                Ok(seconds) => {
                    let step = (spoken(*seconds), change(*seconds, here));
                    table.row([what.clone(), step.0, step.1, price_text, price_change]);
                }
                Err(error) => table.row([what.clone(), format!("no plan: {error}")]),
            }
        }
        table.render()
    }

    fn bound_text(&self) -> String {
        match (self.placement.bound, self.placement.gap()) {
            (Some((bound, proof)), Some(gap)) => format!(
                "no placement takes less than {} by this cost model ({}): certified gap {:.2} %",
                spoken(bound),
                proof.as_str(),
                gap * 100.0
            ),
            _ => "tables are dealt as that software does it: there is no bound".to_owned(),
        }
    }
}

/// `all`, or the ranks with runs of consecutive ones drawn together.
fn ranks_text(ranks: &[usize], world_size: usize) -> String {
    if ranks.len() == world_size && world_size > 1 && ranks.is_sorted_by(|a, b| a < b) {
        return "all".to_owned();
    }
    runs(ranks)
}

fn phases_json(phases: &Phases) -> Map<String, Value> {
    Phase::ALL.into_iter().map(|phase| (key(phase.name()), json!(phases.get(phase)))).collect()
}

/// What lies where, from the JSON of an earlier plan.
///
/// # Errors
/// The text is no plan.
pub fn present(text: &str) -> Result<BTreeMap<String, (String, Vec<u32>)>, String> {
    let root: Value = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
    let schema = root.get("schema").and_then(Value::as_u64);
    if schema != Some(u64::from(SCHEMA)) {
        return Err(format!(
            "is no plan of schema {SCHEMA}; write one with muster plan SPEC.toml --output json"
        ));
    }
    let tables = root.get("assignment").and_then(Value::as_object).ok_or("has no `assignment`")?;
    let entry = |(name, placed): (&String, &Value)| {
        let option = placed.get("option").and_then(Value::as_str);
        let ranks: Option<Vec<u32>> = placed.get("ranks").and_then(Value::as_array).and_then(|ranks| {
            ranks.iter().map(|rank| rank.as_u64().and_then(|rank| u32::try_from(rank).ok())).collect()
        });
        let placed = option.map(str::to_owned).zip(ranks);
        Ok((name.clone(), placed.ok_or_else(|| format!("assignment.{name} lacks `option` or `ranks`"))?))
    };
    tables.iter().map(entry).collect()
}

impl Report for Planned {
    fn text(&self) -> String {
        let mut parts = vec![
            self.title(),
            self.tables_text(),
            self.ranks_text(),
            format!(
                "a step takes {}\n{}\n{}",
                spoken(self.placement.step.seconds),
                self.bound_text(),
                self.bottleneck_text()
            ),
        ];
        if let Some(moves) = self.moves {
            let (bytes, pieces) = (moves.bytes as f64 / 1e9, moves.pieces);
            parts.push(format!("against the plan before, {pieces} pieces move, {bytes:.2} GB"));
        }
        parts.push(format!("what the next purchases would give\n{}", self.purchases_text()));
        parts.push(format!("planned and verified in {:.3} s", self.time.as_secs_f64()));
        parts.join("\n\n")
    }

    fn json(&self) -> Value {
        let assignment: Map<String, Value> = self
            .assignment()
            .map(|(name, option, ranks)| (name.to_owned(), json!({"option": option, "ranks": ranks})))
            .collect();
        let rank = |(idx, phases): (usize, &Phases)| json!({"rank": idx, "phases": phases_json(phases), "memory_bytes": self.placement.memory[idx], "host_bytes": self.placement.host[idx]});
        let purchase = |purchase: &Purchase| {
            let seconds = purchase.seconds.as_ref();
            json!({
                "what": purchase.what, "step_seconds": seconds.ok(), "price_per_hour": purchase.price,
                "error": seconds.err().map(ToString::to_string),
            })
        };
        let (phase, share, worst) = self.bottleneck();
        json!({
            "schema": SCHEMA, "pool": self.pool.name, "device": self.device.name, "nodes": self.pool.nodes,
            "devices": self.cluster.world_size, "cost": self.placement.step.seconds, "unit": "seconds",
            "bound": self.placement.bound.map(|(bound, _)| bound), "gap": self.placement.gap(),
            "proof": self.placement.bound.map(|(_, proof)| proof.as_str()),
            "seconds": self.time.as_secs_f64(), "phases": phases_json(&self.placement.step.phases),
            "bottleneck": {"phase": key(phase.name()), "share": share, "rank": worst},
            "usable_bytes": memory::usable(&self.cluster), "price_per_hour": self.price(),
            "moves": self.moves.map(|moves| json!({"pieces": moves.pieces, "bytes": moves.bytes as f64})),
            "assignment": assignment,
            "ranks": self.ranks.iter().enumerate().map(rank).collect::<Vec<_>>(),
            "purchases": self.purchases.iter().map(purchase).collect::<Vec<_>>(),
        })
    }
}
