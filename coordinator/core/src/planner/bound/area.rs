//! The area bound: the peaks are no lower than any weighted mean of loads, and memory in all is no more than there is.
//!
//! For weights `a >= 0` over classes, one set a phase, that sum to 1 over all ranks, and multipliers `l >= 0` for memory,
//!
//! ```text
//! cost >= sum over tables of min over options and placements of sum over pieces (a * cost + l * memory)  -  l * capacity
//! ```
//!
//! A plan with cost `z` has no piece above `z`, so options with one are left out, and the least `z` that does not
//! contradict itself is the bound. Source: weak duality of the linear relaxation; `l` by golden section, since
//! the right side is concave in it, `a` by multiplicative weights.

use super::super::problem::{Choice, Layout, Problem};
use super::ROUNDING;
use super::item::largest_piece;

const GOLDEN_STEPS: usize = 48;
const WEIGHT_STEPS: usize = 80;

/// An option as the bound sees it.
struct Work {
    /// Summed over pieces, with the best class for each that is free to choose one.
    cost: f64,
    memory: f64,
    /// No plan below this cost has the option.
    largest: f64,
}

/// The bound, and the price of a byte in units of cost at which it was found.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Area {
    pub(in super::super) bound: f64,
    pub(in super::super) byte_price: f64,
}

/// The least cost between `low`, a bound, and `high`, the cost of a plan, that does not contradict itself.
pub(in super::super) fn bound(problem: &Problem, useful: &[Vec<usize>], low: f64, high: f64) -> Area {
    let (options, capacity) = (works(problem, useful), capacity(problem));
    let (mut low, mut high) = (low, high.max(low));
    let mut at_high = dual(&options, capacity, high);
    if at_high.bound >= high {
        return Area { bound: high * ROUNDING, byte_price: at_high.byte_price };
    }
    for _ in 0..30 {
        if high - low <= 1e-6 * high {
            break;
        }
        let middle = 0.5 * (low + high);
        let found = dual(&options, capacity, middle);
        if found.bound > middle {
            low = middle;
        } else {
            high = middle;
            at_high = found;
        }
    }
    Area { bound: low.max(at_high.bound.min(high)) * ROUNDING, byte_price: at_high.byte_price }
}

/// The bound where no cost of a plan is known.
pub(in super::super) fn even(problem: &Problem, useful: &[Vec<usize>], low: f64) -> Area {
    let found = dual(&works(problem, useful), capacity(problem), f64::MAX);
    Area { bound: low.max(found.bound) * ROUNDING, byte_price: found.byte_price }
}

fn works(problem: &Problem, useful: &[Vec<usize>]) -> Vec<Vec<Work>> {
    let weights = weights(problem, useful);
    let of_table = |(table, options): (usize, &Vec<usize>)| {
        let choices = options.iter().map(|option| &problem.tables()[table].options[*option]);
        choices.map(|choice| work(problem, choice, &weights)).collect()
    };
    useful.iter().enumerate().map(of_table).collect()
}

fn capacity(problem: &Problem) -> f64 {
    problem.cluster().devices.iter().map(|device| device.memory as f64).sum()
}

/// The bound over options with no piece above `z`, at the best price of memory.
fn dual(options: &[Vec<Work>], capacity: f64, z: f64) -> Area {
    let at = |price: f64| {
        let mut held = 0.0;
        let mut sum = 0.0;
        for works in options {
            let open = works.iter().filter(|work| work.largest <= z);
            let value = |work: &Work| work.cost + price * work.memory;
            let Some(best) =
                open.min_by(|a, b| value(a).total_cmp(&value(b)).then(a.memory.total_cmp(&b.memory)))
            else {
                return (f64::INFINITY, 0.0);
            };
            sum += value(best);
            held += best.memory;
        }
        (sum - price * capacity, held)
    };
    let (free, held) = at(0.0);
    if held <= capacity || !free.is_finite() {
        return Area { bound: free, byte_price: 0.0 };
    }
    // A price at which memory is no longer short bounds the search from above.
    let mut high = free.max(1e-9) / capacity;
    let mut steps = 0;
    while at(high).1 > capacity && steps < 60 {
        high *= 2.0;
        steps += 1;
    }
    let mut low = 0.0;
    let ratio = 0.5 * (5f64.sqrt() - 1.0);
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_left, mut at_right) = (at(left).0, at(right).0);
    for _ in 0..GOLDEN_STEPS {
        if at_left < at_right {
            (low, left, at_left) = (left, right, at_right);
            right = low + ratio * (high - low);
            at_right = at(right).0;
        } else {
            (high, right, at_right) = (right, left, at_left);
            left = high - ratio * (high - low);
            at_left = at(left).0;
        }
    }
    let (price, best) = if at_left < at_right { (right, at_right) } else { (left, at_left) };
    // The difference of two large numbers has the rounding of both.
    let both = best + 2.0 * price * capacity;
    let best = best - both * 4.0 * f64::EPSILON * (options.len() + 2) as f64;
    if best > free { Area { bound: best, byte_price: price } } else { Area { bound: free, byte_price: 0.0 } }
}

fn work(problem: &Problem, choice: &Choice, weights: &[f64]) -> Work {
    let phases = problem.phases();
    let weighted = |cost: &[f64], class: usize| -> f64 {
        cost.iter().zip(&weights[class * phases..]).map(|(cost, weight)| cost * weight).sum()
    };
    let cost = if choice.layout == Layout::EveryRank && problem.classes() > 1 {
        let devices = &problem.cluster().devices;
        choice
            .pieces()
            .zip(devices)
            .map(|(run, device)| weighted(problem.cost(run, device.class), device.class))
            .sum()
    } else {
        let least = |cost: &[f64]| {
            cost.chunks(phases)
                .enumerate()
                .map(|(class, cost)| weighted(cost, class))
                .fold(f64::INFINITY, f64::min)
        };
        choice.runs.iter().map(|run| run.pieces as f64 * least(&run.cost)).sum()
    };
    Work { cost, memory: choice.memory() as f64, largest: largest_piece(problem, choice) }
}

/// Weights of classes, at `[class * phases + phase]`; the mean over all ranks where they are alike.
fn weights(problem: &Problem, useful: &[Vec<usize>]) -> Vec<f64> {
    let (classes, phases) = (problem.classes(), problem.phases());
    let mut members = vec![0.0; classes];
    problem.cluster().devices.iter().for_each(|device| members[device.class] += 1.0);
    let mut weights = vec![1.0; classes * phases];
    normalize(&mut weights, &members, phases);
    if classes == 1 {
        return weights;
    }
    let mut best = (f64::NEG_INFINITY, weights.clone());
    for step in 0..WEIGHT_STEPS {
        let (value, loads) = relaxed(problem, useful, &weights, &members);
        if value > best.0 {
            best = (value, weights.clone());
        }
        let rate = 1.0 / (1.0 + step as f64).sqrt();
        for phase in 0..phases {
            let at = |class: usize| loads[class * phases + phase];
            let peak = (0..classes).map(at).fold(0.0, f64::max);
            if peak > 0.0 {
                (0..classes).for_each(|class| {
                    weights[class * phases + phase] *= (rate * (at(class) / peak - 1.0)).exp();
                });
            }
        }
        normalize(&mut weights, &members, phases);
    }
    best.1
}

fn normalize(weights: &mut [f64], members: &[f64], phases: usize) {
    for phase in 0..phases {
        let sum: f64 = members.iter().enumerate().map(|(c, n)| n * weights[c * phases + phase]).sum();
        (0..members.len()).for_each(|class| weights[class * phases + phase] /= sum);
    }
}

/// The relaxation at these weights without memory: its value, and the mean load of a rank of each class and phase.
fn relaxed(problem: &Problem, useful: &[Vec<usize>], weights: &[f64], members: &[f64]) -> (f64, Vec<f64>) {
    let phases = problem.phases();
    let mut loads = vec![0.0; weights.len()];
    let mut value = 0.0;
    for (options, table) in useful.iter().zip(problem.tables()) {
        let costs = options.iter().map(|option| &table.options[*option]);
        let Some((choice, work)) = costs
            .map(|choice| (choice, work(problem, choice, weights).cost))
            .min_by(|a, b| a.1.total_cmp(&b.1))
        else {
            continue;
        };
        value += work;
        let every = choice.layout == Layout::EveryRank;
        for (rank, run) in choice.pieces().enumerate() {
            let weighted = |class: usize| -> f64 {
                let cost = problem.cost(run, class);
                cost.iter().zip(&weights[class * phases..]).map(|(cost, weight)| cost * weight).sum()
            };
            let class = if every {
                problem.cluster().devices[rank].class
            } else {
                let has = |class: &usize| members[*class] > 0.0;
                let cheapest = (0..members.len()).filter(has);
                cheapest.min_by(|a, b| weighted(*a).total_cmp(&weighted(*b))).unwrap_or(0)
            };
            for (phase, cost) in problem.cost(run, class).iter().enumerate() {
                loads[class * phases + phase] += cost / members[class];
            }
        }
    }
    (value, loads)
}
