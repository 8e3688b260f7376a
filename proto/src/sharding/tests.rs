//! Laws of pieces and of their owners.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn table(rows: u64, row_blocks: u32, placement: Option<Placement>) -> TableDecl {
    let name = "item".to_owned();
    TableDecl { name, rows, dim: 16, row_blocks, bias: false, placement, columns: None }
}

/// A table that is cut into `n` column blocks of 16 columns.
fn cut(row_blocks: u32, n: u32, placement: Option<Placement>) -> Vec<TableDecl> {
    let block = |block: u32| TableDecl {
        name: format!("item.{block}"),
        columns: Some(ColumnBlock { table: "item".into(), dim: 16 * n, first: 16 * block }),
        ..table(1000, row_blocks, placement)
    };
    (0..n).map(block).collect()
}

/// The owners of each column block.
fn owners(plan: &ShardingPlan) -> Vec<Vec<u32>> {
    plan.tables.values().map(|table| table.owners.clone()).collect()
}

/// Ranks on the hosts of these numbers.
fn nodes(hosts: &[u8]) -> Nodes {
    let hosts: Vec<String> = hosts.iter().map(|host| format!("host-{host}")).collect();
    Nodes::by_host(hosts.iter().map(String::as_str))
}

proptest! {
    #[test]
    fn every_row_has_one_place_and_blocks_hold_all_rows(rows in 0_u64..500, blocks in 1_u32..17) {
        let t = table(rows, blocks, None);
        prop_assert_eq!((0..blocks).map(|b| t.rows_in_block(b)).sum::<u64>(), rows);
        for row in 0..rows {
            let (block, local) = (t.block_of(row), t.local_row(row));
            prop_assert!(local < t.rows_in_block(block));
            prop_assert_eq!(t.global_row(block, local), row);
        }
    }

    #[test]
    fn micro_batches_and_partitions_are_assigned_exactly_once(m in 1_u32..33, w in 1_u32..20, p in 1_u32..130) {
        let plan = ShardingPlan::simple(&[], m, w).unwrap();
        let all: Vec<u32> = (0..w).flat_map(|r| plan.micro_batches_of(r)).collect();
        prop_assert_eq!(all, (0..m).collect::<Vec<_>>());
        for mb in 0..m {
            prop_assert!(plan.micro_batches_of(plan.rank_of_micro_batch(mb)).contains(&mb));
        }
        let mut parts: Vec<u32> = (0..w).flat_map(|r| plan.partitions_of(r, p)).collect();
        parts.sort_unstable();
        prop_assert_eq!(parts, (0..p).collect::<Vec<_>>());
    }

    #[test]
    fn a_simple_plan_is_legal_and_row_wise_owners_differ_by_at_most_one_block(
        rows in 0_u64..10_000, blocks in 1_u32..40, w in 1_u32..20,
    ) {
        for placement in [Placement::RowWise, Placement::TableWise, Placement::DataParallel] {
            let t = table(rows, blocks, Some(placement));
            let plan = ShardingPlan::simple(std::slice::from_ref(&t), 8, w).unwrap();
            prop_assert_eq!(plan.check(&[t]), Ok(()));
            if placement == Placement::RowWise {
                let owners = &plan.tables["item"].owners;
                let load = |r: u32| owners.iter().filter(|o| **o == r).count();
                let loads: Vec<usize> = (0..w).map(load).collect();
                prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
                prop_assert!(owners.is_sorted());
            }
        }
    }
}

proptest! {
    #[test]
    fn a_repaired_plan_is_even_and_moves_no_more_than_it_must(
        blocks in 1_u32..40, before in 1_u32..9, lost in prop::collection::btree_set(0_u32..9, 0..5), more in 0_u32..4,
    ) {
        let t = table(1000, blocks, Some(Placement::RowWise));
        let plan = ShardingPlan::simple(std::slice::from_ref(&t), 8, before).unwrap();
        let kept: BTreeMap<u32, u32> = (0..before).filter(|rank| !lost.contains(rank)).zip(0..).collect();
        let world = kept.len() as u32 + more;
        prop_assume!(world > 0);
        let repaired = plan.repaired(std::slice::from_ref(&t), &kept, &Nodes::alone(world)).unwrap();
        prop_assert_eq!(repaired.check(&[t]), Ok(()));
        let (old, new) = (&plan.tables["item"].owners, &repaired.tables["item"].owners);
        let loads: Vec<usize> = (0..world).map(|r| new.iter().filter(|o| **o == r).count()).collect();
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        prop_assert!(most - least <= 1);
        // What a survivor gives up, it has above its share; the share is one more for as many ranks as it divides into.
        let moved = old.iter().zip(new).filter(|(old, new)| kept.get(old) != Some(new)).count();
        let held: Vec<usize> =
            kept.keys().map(|rank| old.iter().filter(|owner| *owner == rank).count()).collect();
        let orphans = blocks as usize - held.iter().sum::<usize>();
        let (share, extra) = (blocks as usize / world as usize, blocks as usize % world as usize);
        let over = held.iter().filter(|held| **held > share).count().min(extra);
        let surplus: usize = held.iter().map(|held| held.saturating_sub(share)).sum();
        prop_assert_eq!(moved, orphans + surplus - over);
    }
}

#[test]
fn a_spare_that_steps_in_takes_exactly_what_was_lost() {
    let t = table(1000, 8, None);
    let plan = ShardingPlan::simple(std::slice::from_ref(&t), 8, 4).unwrap();
    let kept = BTreeMap::from([(0, 0), (2, 2), (3, 3)]);
    assert_eq!(plan.repaired(&[t], &kept, &Nodes::alone(4)).unwrap(), plan);
}

#[test]
fn a_plan_that_names_a_missing_rank_is_refused() {
    let t = table(10, 2, None);
    let mut plan = ShardingPlan::simple(std::slice::from_ref(&t), 8, 2).unwrap();
    plan.tables.get_mut("item").unwrap().owners[1] = 7;
    let refused = plan.check(&[t]).unwrap_err();
    assert_eq!(refused, Error::UnknownRank { table: "item".into(), shard: 1, rank: 7, world_size: 2 });
}

const ALL: [Placement; 6] = [
    Placement::RowWise,
    Placement::TableWise,
    Placement::DataParallel,
    Placement::ColumnWise,
    Placement::TableRowWise,
    Placement::Grid,
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_placement_gives_legal_plans_on_any_hosts_whoever_comes_and_goes(
        placement in 0..ALL.len(), row_blocks in 1_u32..12, n in 1_u32..5,
        before in prop::collection::vec(0_u8..4, 1..8), after in prop::collection::vec(0_u8..4, 1..8),
        lost in prop::collection::btree_set(0_u32..8, 0..5),
    ) {
        let placement = ALL[placement];
        let tables = cut(row_blocks, n, Some(placement));
        let (old, new) = (nodes(&before), nodes(&after));
        let plan = ShardingPlan::simple_on(&tables, 8, &old).unwrap();
        let stay = (0..old.world_size()).filter(|rank| !lost.contains(rank)).zip(0..new.world_size());
        let repaired = plan.repaired(&tables, &stay.collect(), &new).unwrap();
        for (plan, nodes) in [(&plan, &old), (&repaired, &new)] {
            prop_assert_eq!(plan.check(&tables), Ok(()));
            prop_assert_eq!(plan.check_nodes(&tables, nodes), Ok(()));
            prop_assert!(plan.tables.values().all(|table| table.placement == placement.of_block()));
            let all = owners(plan);
            match placement {
                // The blocks of a table that lie as one are on one rank, or on one node.
                Placement::TableWise => prop_assert!(all.iter().all(|owners| owners == &all[0])),
                Placement::TableRowWise => {
                    let node = nodes.of(all[0][0]);
                    prop_assert!(all.iter().flatten().all(|rank| nodes.of(*rank) == node));
                }
                _ => {}
            }
        }
        // Those that are spread come to lie on as many ranks, or nodes, as there are.
        let places = |of: &dyn Fn(u32) -> usize| {
            owners(&plan).iter().map(|owners| of(owners[0])).collect::<std::collections::BTreeSet<_>>().len()
        };
        match placement {
            Placement::ColumnWise => prop_assert_eq!(places(&|rank| rank as usize), before.len().min(n as usize)),
            Placement::Grid => prop_assert_eq!(places(&|rank| old.of(rank)), old.len().min(n as usize)),
            _ => {}
        }
    }

    #[test]
    fn a_repaired_plan_of_the_same_ranks_moves_nothing(
        placement in 0..ALL.len(), row_blocks in 1_u32..12, n in 1_u32..5,
        hosts in prop::collection::vec(0_u8..4, 1..8),
    ) {
        let (tables, nodes) = (cut(row_blocks, n, Some(ALL[placement])), nodes(&hosts));
        let plan = ShardingPlan::simple_on(&tables, 8, &nodes).unwrap();
        let stay: BTreeMap<u32, u32> = (0..nodes.world_size()).map(|rank| (rank, rank)).collect();
        prop_assert_eq!(plan.repaired(&tables, &stay, &nodes).unwrap(), plan);
    }
}

#[test]
fn nodes_are_hosts_and_a_host_that_is_not_known_is_one_rank() {
    let nodes = Nodes::by_host(["a", "b", "", "a", ""]);
    assert_eq!((nodes.world_size(), nodes.len()), (5, 4));
    assert_eq!(
        [nodes.ranks(0), nodes.ranks(1), nodes.ranks(2), nodes.ranks(3)],
        [&[0, 3][..], &[1], &[2], &[4]]
    );
    assert_eq!(nodes.of(3), 0);
}

#[test]
fn a_grid_lies_on_the_ranks_of_one_node_for_each_column_block() {
    let plan = ShardingPlan::simple_on(&cut(4, 2, Some(Placement::Grid)), 8, &nodes(&[0, 1, 0, 1])).unwrap();
    assert_eq!(owners(&plan), [[0, 0, 2, 2], [1, 1, 3, 3]]);
    // The host of ranks 1 and 3 is lost: its block goes to the other one, whose blocks stay.
    let kept = BTreeMap::from([(0, 0), (2, 1)]);
    let repaired = plan.repaired(&cut(4, 2, Some(Placement::Grid)), &kept, &nodes(&[0, 0])).unwrap();
    assert_eq!(owners(&repaired), [[0, 0, 1, 1], [0, 0, 1, 1]]);
}

#[test]
fn column_blocks_that_are_spread_lie_apart_whatever_else_lies_there() {
    let heavy = |name: &str| {
        let table = table(1_000_000, 4, Some(Placement::TableWise));
        TableDecl { name: name.to_owned(), ..table }
    };
    let mut tables = vec![heavy("a"), heavy("b")];
    tables.extend(cut(4, 3, Some(Placement::ColumnWise)));
    let plan = ShardingPlan::simple(&tables, 8, 3).unwrap();
    let of_blocks =
        |plan: &ShardingPlan| owners(plan)[2..].iter().map(|owners| owners[0]).collect::<Vec<u32>>();
    assert_eq!(of_blocks(&plan), [2, 0, 1]);
    // The one whose rank is lost goes where no other is, also if it is declared before one that stays.
    let repaired = plan.repaired(&tables, &BTreeMap::from([(0, 0), (1, 1)]), &Nodes::alone(3)).unwrap();
    assert_eq!(of_blocks(&repaired), [2, 0, 1]);
}

#[test]
fn shards_that_should_be_together_and_are_not_are_named() {
    let (t, hosts) = (table(10, 3, None), nodes(&[0, 0, 1]));
    let planned = |placement, owners: [u32; 3]| ShardingPlan {
        world_size: 3,
        micro_batches: 8,
        tables: BTreeMap::from([("item".to_owned(), TablePlan { placement, owners: owners.to_vec() })]),
    };
    let apart = |other, place| Err(Error::Apart { table: "item".into(), first: 0, other, place });
    let tables = std::slice::from_ref(&t);
    assert_eq!(planned(Placement::TableWise, [1, 1, 0]).check(tables), apart(2, "rank"));
    let rows = planned(Placement::TableRowWise, [0, 2, 1]);
    assert_eq!((rows.check(tables), rows.check_nodes(tables, &hosts)), (Ok(()), apart(1, "node")));
    let (table, placement) = ("item".to_owned(), Placement::Grid);
    assert_eq!(planned(placement, [0; 3]).check(tables), Err(Error::NotOfOne { table, placement }));
}
