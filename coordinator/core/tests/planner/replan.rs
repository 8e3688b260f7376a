//! Re-planning moves little.

use muster_core::planner::{Effort, Moves, Placement, Problem, plan, replan, verify};

use crate::random::{self, Sizes};

const SIZES: Sizes = Sizes { tables: 40, nodes: 2, node_size: 4, phases: 1, classes: 1, room: 4.0 };

#[test]
fn a_plan_that_is_good_enough_does_not_move() {
    let problem = random::problem(SIZES, 11);
    let now = plan(&problem, Effort::default()).unwrap();
    let current: Vec<Option<Placement>> = now.placements.iter().cloned().map(Some).collect();
    let (next, moved) = replan(&problem, &current, 0.0, Effort::default()).unwrap();
    assert_eq!((next.placements, moved), (now.placements, Moves::default()));
}

#[test]
fn a_new_table_and_a_tolerance_move_less_than_a_fresh_plan() {
    let problem = random::problem(SIZES, 12);
    let n = problem.tables().len();
    let fewer = Problem::new(problem.cluster().clone(), 1, problem.tables()[..n - 1].to_vec()).unwrap();
    let now = plan(&fewer, Effort::default()).unwrap();
    let mut current: Vec<Option<Placement>> = now.placements.into_iter().map(Some).collect();
    current.push(None);
    let fresh = plan(&problem, Effort::default()).unwrap();
    let (next, moved) = replan(&problem, &current, 0.05, Effort::default()).unwrap();
    assert_eq!(verify(&problem, &next), Ok(()));
    assert!(next.cost <= fresh.cost * 1.05);
    let all: u128 = fresh
        .placements
        .iter()
        .enumerate()
        .map(|(table, placement)| problem.tables()[table].options[placement.option].memory())
        .sum();
    assert!(moved.bytes * 2 < all, "{} of {all} bytes move", moved.bytes);
}

#[test]
fn placements_that_are_no_longer_offered_are_replaced() {
    let problem = random::problem(SIZES, 13);
    let gone = Placement { option: 0, ranks: vec![4_000] };
    let current = vec![Some(gone); problem.tables().len()];
    let (next, _) = replan(&problem, &current, 0.05, Effort::default()).unwrap();
    assert_eq!(verify(&problem, &next), Ok(()));
}
