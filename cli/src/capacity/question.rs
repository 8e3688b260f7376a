//! One question and its answers, pool by pool.

use std::path::Path;

use muster_core::capacity::fleet::{self, Load, Retraining};
use muster_core::capacity::{Answer, Unanswered, inverse};
use muster_core::cost::Phase;
use muster_proto::capacity::{CapacitySpec, PoolSpec, RetrainingSpec};
use serde_json::{Value, json};

use super::unanswered;
use crate::error::Error;
use crate::output::Report;
use crate::table::{Table, key};

/// What is known of one pool.
#[derive(Debug, Clone)]
pub struct PoolAnswer {
    /// The pool as it was asked about.
    pub pool: PoolSpec,
    /// The fewest nodes that keep deadline and budget.
    pub fewest: Option<Answer>,
    /// Numbers of nodes, all of the pool's last.
    pub scaling: Vec<(u32, Result<Answer, Unanswered>)>,
}

/// The fleet on the first pool.
#[derive(Debug, Clone)]
pub struct FleetAnswer {
    /// The retrainings with their times.
    pub retrainings: Vec<Retraining>,
    /// On the pool as it is; none where a retraining needs more nodes.
    pub now: Option<Load>,
    /// The smallest pool that is late seldom enough.
    pub smallest: Option<Load>,
}

/// A question with its answers.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The question.
    pub spec: CapacitySpec,
    /// Its pools.
    pub pools: Vec<PoolAnswer>,
    /// Its fleet, where it has one.
    pub fleet: Option<FleetAnswer>,
}

/// Answers a question; `file` is named where nothing fits.
///
/// # Errors
/// The model fits into no pool, or a retraining not into its nodes.
pub fn ask(spec: &CapacitySpec, file: &Path) -> Result<Answered, Error> {
    let pools: Vec<PoolAnswer> = spec.pools.iter().map(|pool| of_pool(spec, pool)).collect();
    if let Some(Err(error)) = pools.first().map(PoolAnswer::whole)
        && pools.iter().all(PoolAnswer::is_without)
    {
        return Err(unanswered::refused(error, spec, 0, file));
    }
    let first = spec.pools.first().filter(|_| !spec.fleet.is_empty());
    let fleet = first
        .map(|pool| {
            let retrainings = fleet::retrainings(spec, pool)?;
            let now = fleet::load(&retrainings, pool.nodes, spec.seed);
            let smallest = fleet::smallest(&retrainings, spec.late, spec.seed);
            Ok(FleetAnswer { retrainings, now, smallest })
        })
        .transpose()
        .map_err(|(index, error): (usize, Unanswered)| unanswered::of_fleet(&error, spec, index, file))?;
    Ok(Answered { spec: spec.clone(), pools, fleet })
}

fn of_pool(spec: &CapacitySpec, pool: &PoolSpec) -> PoolAnswer {
    let asked = spec.run.deadline.is_some() || spec.run.budget.is_some();
    PoolAnswer {
        pool: pool.clone(),
        fewest: asked.then(|| inverse::fewest(spec, pool)).flatten(),
        scaling: inverse::scaling(spec, pool),
    }
}

/// A time as people say it.
#[must_use]
pub fn spoken(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.2} h", s / 3600.0),
        s => format!("{:.2} d", s / 86_400.0),
    }
}

fn counted(nodes: u32) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}

fn verdict(answer: &Answer) -> &'static str {
    match (answer.in_time, answer.in_budget) {
        (Some(false), Some(false)) => "late, over budget",
        (Some(false), _) => "late",
        (_, Some(false)) => "over budget",
        (None, None) => "",
        _ => "yes",
    }
}

fn cells(answer: &Answer) -> [String; 9] {
    let (phase, share) = answer.bottleneck();
    [
        answer.devices.to_string(),
        format!("{:.2}", answer.step.seconds * 1e3),
        spoken(answer.simulated.p50),
        spoken(answer.simulated.p90),
        answer.cost.map_or_else(String::new, |cost| format!("{cost:.2}")),
        format!("{:.1}", answer.energy),
        format!("{:.1} %", answer.goodput * 100.0),
        format!("{:.1} of {:.1}", answer.memory / 1e9, answer.usable / 1e9),
        format!("{} {:.0} %", phase.name(), share * 100.0),
    ]
}

impl PoolAnswer {
    /// The answer for all of it.
    pub fn whole(&self) -> &Result<Answer, Unanswered> {
        let (_, whole) = self.scaling.last().expect("scaling ends with all nodes of the pool");
        whole
    }

    /// Whether no number of nodes has an answer.
    fn is_without(&self) -> bool {
        self.fewest.is_none() && self.scaling.iter().all(|(_, answer)| answer.is_err())
    }

    fn text(&self, asked: bool) -> String {
        let mut lines =
            vec![format!("{}: {}, {}", self.pool.name, self.pool.device, counted(self.pool.nodes))];
        let mut table = Table::new([
            "devices",
            "step ms",
            "P50",
            "P90",
            "cost",
            "kWh",
            "goodput",
            "GB a device",
            "bottleneck",
            "fits the ask",
        ]);
        for (nodes, answer) in &self.scaling {
            match answer {
                Ok(answer) => {
                    table.row(cells(answer).into_iter().chain([verdict(answer).to_owned()]));
                }
                Err(error) => {
                    let devices = self.pool.device().map_or(0, |device| device.per_node) * nodes;
                    let mut row = vec![devices.to_string()];
                    row.resize(9, String::new());
                    row.push(unanswered::cell(error));
                    table.row(row);
                }
            }
        }
        lines.push(table.render());
        if let Ok(whole) = self.whole() {
            if whole.step.extrapolated {
                lines.push(
                    "  a calibrated phase lies outside of its measured points: extrapolated".to_owned(),
                );
            }
            let phases: Vec<String> = Phase::ALL
                .into_iter()
                .filter(|phase| whole.step.phases.get(*phase) > 0.0)
                .map(|phase| format!("{} {}", phase.name(), spoken(whole.step.phases.get(phase))))
                .collect();
            lines.push(format!("  a step on {} devices: {}", whole.devices, phases.join(", ")));
            lines.push(format!(
                "  max over ranks of sums (TorchRec's figure): {}",
                spoken(whole.step.max_of_sums)
            ));
            if let Some(price) = whole.energy_cost {
                lines.push(format!("  energy of a run: {:.1} kWh, {price:.2} beside the cost", whole.energy));
            }
            if whole.host > 0.0 {
                lines.push(format!("  the fullest host holds {:.1} GB of tables", whole.host / 1e9));
            }
            lines.push(if whole.interval < whole.ideal {
                format!("  a checkpoint every {} of work (Daly)", spoken(whole.interval))
            } else {
                "  one checkpoint, at the end: the run is shorter than Daly's interval".to_owned()
            });
        }
        if asked {
            lines.push(match &self.fewest {
                Some(fewest) => format!(
                    "  fewest that will do: {}, {} devices, {} at P90{}",
                    counted(fewest.nodes),
                    fewest.devices,
                    spoken(fewest.simulated.p90),
                    fewest.cost.map_or_else(String::new, |cost| format!(", {cost:.2} a run"))
                ),
                None => format!("  no number of nodes up to {} will do", self.pool.nodes),
            });
        }
        lines.join("\n")
    }
}

fn load_text(load: &Load) -> String {
    format!(
        "{}, {:.1} % in use, {:.2} % late, waiting {} on average",
        counted(load.nodes),
        load.utilization * 100.0,
        load.late * 100.0,
        spoken(load.wait)
    )
}

impl FleetAnswer {
    fn text(&self) -> String {
        let mut lines = vec!["fleet".to_owned()];
        let mut table = Table::new(["retraining", "count", "every", "nodes", "takes", "due after"]);
        for Retraining { spec, seconds } in &self.retrainings {
            let RetrainingSpec { name, count, period, nodes, deadline, .. } = spec;
            table.row([
                name.clone(),
                count.to_string(),
                spoken(period.as_secs_f64()),
                nodes.to_string(),
                spoken(*seconds),
                spoken(deadline.as_secs_f64()),
            ]);
        }
        lines.push(table.render());
        lines.push(match &self.now {
            Some(load) => format!("  the pool as it is: {}", load_text(load)),
            None => "  the pool as it is has fewer nodes than a retraining needs".to_owned(),
        });
        lines.push(match &self.smallest {
            Some(load) => format!("  the smallest that will do: {}", load_text(load)),
            None => "  no pool will do: a retraining takes longer than it may without any wait".to_owned(),
        });
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let load = |load: &Load| {
            json!({
                "nodes": load.nodes, "utilization": load.utilization, "late": load.late,
                "wait_seconds": load.wait, "worst_lateness_seconds": load.worst,
            })
        };
        json!({
            "retrainings": self.retrainings.iter().map(|r| json!({"name": r.spec.name, "seconds": r.seconds})).collect::<Vec<_>>(),
            "now": self.now.as_ref().map(load),
            "smallest": self.smallest.as_ref().map(load),
        })
    }
}

/// An answer as scripts read it.
#[must_use]
pub fn answer_json(answer: &Answer) -> Value {
    let phases: serde_json::Map<String, Value> = Phase::ALL
        .into_iter()
        .map(|phase| (key(phase.name()), json!(answer.step.phases.get(phase))))
        .collect();
    let (bottleneck, share) = answer.bottleneck();
    let layouts: serde_json::Map<String, Value> =
        answer.layouts.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
    json!({
        "pool": answer.pool, "device": answer.device, "devices": answer.devices, "nodes": answer.nodes,
        "step_seconds": answer.step.seconds, "extrapolated": answer.step.extrapolated, "max_of_sums_seconds": answer.step.max_of_sums, "phases": phases,
        "bottleneck": {"phase": bottleneck.name(), "share": share},
        "steps": answer.steps, "ideal_seconds": answer.ideal, "seconds": answer.seconds,
        "simulated": {"mean": answer.simulated.mean, "p50": answer.simulated.p50, "p90": answer.simulated.p90, "p99": answer.simulated.p99},
        "goodput": answer.goodput, "checkpoint_interval_seconds": answer.interval,
        "cost": answer.cost, "energy_kwh": answer.energy, "energy_cost": answer.energy_cost,
        "memory_bytes": answer.memory, "host_bytes": answer.host, "usable_bytes": answer.usable,
        "in_time": answer.in_time, "in_budget": answer.in_budget, "layouts": layouts, "bound_seconds": answer.bound,
    })
}

fn result_json(answer: &Result<Answer, Unanswered>) -> Value {
    match answer {
        Ok(answer) => answer_json(answer),
        Err(error) => json!({"unanswered": unanswered::json(error)}),
    }
}

impl Report for Answered {
    fn text(&self) -> String {
        let asked = self.spec.run.deadline.is_some() || self.spec.run.budget.is_some();
        let pools = self.pools.iter().map(|pool| pool.text(asked));
        pools.chain(self.fleet.iter().map(FleetAnswer::text)).collect::<Vec<_>>().join("\n\n")
    }

    fn json(&self) -> Value {
        let pools: Vec<Value> = self
            .pools
            .iter()
            .map(|pool| {
                json!({
                    "name": pool.pool.name,
                    "answer": result_json(pool.whole()),
                    "fewest": pool.fewest.as_ref().map(answer_json),
                    "scaling": pool.scaling.iter().map(|(_, answer)| result_json(answer)).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({"name": self.spec.name, "pools": pools, "fleet": self.fleet.as_ref().map(FleetAnswer::json)})
    }
}
