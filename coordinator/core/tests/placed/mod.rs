//! Tables that are cut, on workers of several hosts, and what has to be true of any plan for them.

use muster_proto::control::Cohort;
use muster_proto::job::tables::block_name;
use muster_proto::sharding::{ColumnBlock, Nodes, Placement, TableDecl};

/// One worker does not say where it is, two are on one host.
pub(crate) fn host(name: usize) -> &'static str {
    ["", "left", "right", "left"][name]
}

/// The tables of the job for so many workers: none, or some that are cut into two column blocks.
pub(crate) fn tables(world_size: u32) -> Vec<TableDecl> {
    let table = |name: &str, placement| TableDecl {
        name: name.to_owned(),
        rows: 1000,
        dim: 8,
        row_blocks: 3,
        bias: false,
        placement,
        columns: None,
    };
    let cut = |name: &str, placement| {
        let block = |block: u32| TableDecl {
            columns: Some(ColumnBlock { table: name.to_owned(), dim: 16, first: 8 * block }),
            ..table(&block_name(name, block), placement)
        };
        [block(0), block(1)]
    };
    match world_size {
        2 => [cut("open", None), cut("spread", Some(Placement::ColumnWise))].concat(),
        3 => {
            let mut tables = vec![table("rows", Some(Placement::TableRowWise)), table("any", None)];
            tables.extend(cut("grid", Some(Placement::Grid)));
            tables.extend(cut("one", Some(Placement::TableWise)));
            tables
        }
        _ => Vec::new(),
    }
}

/// Each piece of the job's tables lies as the job demands it on the hosts of the ranks.
pub(crate) fn assert_placed(cohort: &Cohort) {
    let declared = (1..4).map(tables).find(|tables| {
        tables.len() == cohort.plan.tables.len()
            && tables.iter().all(|table| cohort.plan.tables.contains_key(&table.name))
    });
    let declared = declared.expect("a plan has the tables of some job");
    let host_of = |address: &str| host(address.strip_prefix("host:").unwrap().parse().unwrap());
    let nodes = Nodes::by_host(cohort.peers.iter().map(|(_, address)| host_of(address)));
    assert_eq!(cohort.plan.check(&declared), Ok(()));
    assert_eq!(cohort.plan.check_nodes(&declared, &nodes), Ok(()));
    for table in &declared {
        let plan = &cohort.plan.tables[&table.name];
        assert!(
            table.placement.is_none_or(|forced| forced.of_block() == plan.placement),
            "{table:?}: {plan:?}"
        );
        let first = declared.iter().find(|other| other.table() == table.table()).unwrap();
        let free = table.placement != Some(Placement::TableWise);
        assert!(
            free || cohort.plan.tables[&first.name] == *plan,
            "{table:?} is not where its other block is"
        );
    }
}
