//! The optimum by trying everything, written without the planner's code.

use muster_core::planner::{Choice, Layout, Problem};

/// The least cost of a plan; none where nothing fits.
pub(crate) fn optimum(problem: &Problem) -> Option<f64> {
    let loads = vec![0.0; problem.world_size() * problem.phases()];
    let memory: Vec<i128> = problem.cluster().devices.iter().map(|d| i128::from(d.memory)).collect();
    best(problem, 0, &loads, &memory)
}

fn best(problem: &Problem, table: usize, loads: &[f64], room: &[i128]) -> Option<f64> {
    if table == problem.tables().len() {
        let phases = problem.phases();
        let peak = |p: usize| loads.iter().skip(p).step_by(phases).copied().fold(0.0, f64::max);
        return Some((0..phases).map(peak).sum());
    }
    let mut least: Option<f64> = None;
    for option in problem.allowed(table) {
        let choice = &problem.tables()[table].options[*option];
        for ranks in placements(problem, choice) {
            if ranks.iter().any(|rank| !problem.may_lie(table, *rank)) {
                continue;
            }
            let (mut loads, mut room) = (loads.to_vec(), room.to_vec());
            for (run, rank) in choice.pieces().zip(&ranks) {
                let class = problem.cluster().devices[*rank].class;
                for phase in 0..problem.phases() {
                    loads[rank * problem.phases() + phase] += run.cost[class * problem.phases() + phase];
                }
                room[*rank] -= i128::from(run.memory);
            }
            if room.iter().all(|room| *room >= 0)
                && let Some(cost) = best(problem, table + 1, &loads, &room)
            {
                least = Some(least.map_or(cost, |other: f64| other.min(cost)));
            }
        }
    }
    least
}

fn placements(problem: &Problem, choice: &Choice) -> Vec<Vec<usize>> {
    let n = choice.n_pieces();
    let world_size = problem.world_size();
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..n {
        let longer = |list: &Vec<usize>| {
            let list = list.clone();
            (0..world_size).map(move |rank| list.iter().copied().chain([rank]).collect::<Vec<_>>())
        };
        all = match choice.layout {
            Layout::AnyRank | Layout::OneNode => all.iter().flat_map(longer).collect(),
            _ => all,
        };
    }
    match choice.layout {
        Layout::AnyRank => all,
        Layout::OneNode => {
            let one = |list: &Vec<usize>| {
                list.iter().all(|rank| problem.node_of(*rank) == problem.node_of(list[0]))
            };
            all.into_iter().filter(one).collect()
        }
        Layout::EveryRank => vec![(0..world_size).collect()],
        Layout::WholeNodes => {
            let groups = n / problem.cluster().node_sizes[0];
            let mut nodes: Vec<Vec<usize>> = vec![Vec::new()];
            for _ in 0..groups {
                let longer = |list: &Vec<usize>| {
                    let list = list.clone();
                    let free: Vec<usize> = (0..problem.nodes()).filter(|n| !list.contains(n)).collect();
                    free.into_iter().map(move |node| list.iter().copied().chain([node]).collect::<Vec<_>>())
                };
                nodes = nodes.iter().flat_map(longer).collect();
            }
            nodes.into_iter().map(|n| n.into_iter().flat_map(|n| problem.ranks_of(n)).collect()).collect()
        }
    }
}
