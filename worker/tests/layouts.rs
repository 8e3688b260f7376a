//! Every layout that a plan may have, of tables that are cut into column blocks: one job, one digest. Ranks are threads on
//! two hosts by name, the collectives are real.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use muster_proto::job::JobSpec;
use muster_proto::sharding::{Nodes, Placement, ShardingPlan, TableDecl, TablePlan};
use muster_worker::embedding::{LookupRequest, look_up};
use muster_worker::train::Finished;
use support::{Cluster, dataset, job};

const LAYOUTS: [&str; 6] =
    ["row_wise", "table_wise", "data_parallel", "column_wise", "table_row_wise", "grid"];

const OPTIMIZERS: [&str; 6] = ["sgd", "adam", "adamw", "adagrad", "row_wise_adagrad", "lazy_adam"];

/// A small job of two tables, with this optimizer of theirs; `text` is laid over it.
fn small(optimizer: &str, text: &str) -> JobSpec {
    job(&format!(
        "[model]\nembedding_dim = 16\nhidden_size = 16\n[[model.features]]\ncolumn = \"category\"\ndim = 8\n\
         [model.head.sampled_softmax]\nnegatives = 12\n[training]\nmax_steps = 6\nclip_norm = 0.5\n\
         [table_optimizer]\nkind = \"{optimizer}\"\nlr = 0.05\nmomentum = 0.5\nweight_decay = 0.01\n{text}"
    ))
}

/// The small job with both tables cut, the item's into four column blocks, and laid out so.
fn cut(optimizer: &str, layout: &str) -> JobSpec {
    small(
        optimizer,
        &format!(
            "[tables]\ncolumn_blocks = {{ item = 4, category = 2 }}\n\
             placement = {{ item = \"{layout}\", category = \"{layout}\" }}\n"
        ),
    )
}

fn two_hosts(world: u32) -> Nodes {
    Nodes::by_host((0..world).map(|rank| ["left", "right"][rank as usize % 2]))
}

/// Ranks take turns between two hosts.
fn on_two_hosts(world: usize) -> Cluster {
    let plan = |tables: &[TableDecl], micro_batches, world| {
        let plan = ShardingPlan::simple_on(tables, micro_batches, &two_hosts(world)).unwrap();
        plan.check_nodes(tables, &two_hosts(world)).unwrap();
        plan
    };
    Cluster { plan, ..Cluster::new(world) }
}

/// Each column block of a table lies in a way of its own, as a planner may choose it.
fn mixed(tables: &[TableDecl], micro_batches: u32, world_size: u32) -> ShardingPlan {
    let all: Vec<u32> = (0..world_size).collect();
    let node = two_hosts(world_size).ranks(0).to_vec();
    let plan = |(turn, table): (usize, &TableDecl)| {
        let (placement, ranks) = match turn % 4 {
            0 => (Placement::TableWise, vec![world_size - 1]),
            1 => (Placement::DataParallel, all.clone()),
            2 => (Placement::RowWise, all.clone()),
            _ => (Placement::TableRowWise, node.clone()),
        };
        (table.name.clone(), TablePlan::even(placement, table.row_blocks, &ranks))
    };
    let tables: BTreeMap<_, _> = tables.iter().enumerate().map(plan).collect();
    ShardingPlan { world_size, micro_batches, tables }
}

#[test]
fn every_layout_and_optimizer_gives_one_digest_on_1_2_3_and_4_ranks() {
    let data = dataset();
    let mut digests = BTreeMap::new();
    for optimizer in OPTIMIZERS {
        let mut first: Option<Finished> = None;
        for layout in LAYOUTS {
            let job = cut(optimizer, layout);
            for world in 1..=4 {
                let run = on_two_hosts(world).train(data.path(), &job, None);
                let first = first.get_or_insert_with(|| run.clone());
                let what = format!("{optimizer}, {layout} on {world} ranks");
                assert_eq!(run.model_digest, first.model_digest, "{what}");
                assert_eq!((&run.test, &run.validation), (&first.test, &first.validation), "{what}");
            }
        }
        for world in 2..=4 {
            let mixed = Cluster { plan: mixed, ..Cluster::new(world) };
            let run = mixed.train(data.path(), &cut(optimizer, "row_wise"), None);
            let first = first.as_ref().unwrap();
            assert_eq!(run.model_digest, first.model_digest, "{optimizer}, mixed on {world} ranks");
            assert_eq!(run.test, first.test, "{optimizer}, mixed on {world} ranks");
        }
        digests.insert(first.unwrap().model_digest, optimizer);
    }
    assert_eq!(digests.len(), OPTIMIZERS.len(), "optimizers that differ give models that do: {digests:?}");
}

/// All rows of the item table after some steps, with their biases, as the model sees them; and the losses.
fn rows_after_steps(cluster: &Cluster, data: &Path, job: &JobSpec) -> (Vec<f32>, Vec<f32>, Vec<f64>) {
    let of_ranks = cluster.on_ranks(|mut collective| {
        let mut trainer = cluster.trainer(data, job, &mut *collective);
        let losses = (0..4).map(|_| trainer.step(0, &mut *collective).unwrap().loss).collect();
        let items = trainer.set.of_model()[0].rows as u32;
        let requests = vec![LookupRequest::of(0, 0..items)];
        let rows = look_up(&trainer.set, requests, &mut *collective).unwrap().remove(0);
        (rows.rows, rows.bias, losses)
    });
    of_ranks.into_iter().next().unwrap()
}

#[test]
fn a_table_that_is_cut_trains_to_the_bits_of_the_uncut_one_where_columns_do_not_meet() {
    let data = dataset();
    // Clipping adds squares up piece by piece, so another cut has other last bits.
    let unclipped = |mut job: JobSpec| {
        job.training.clip_norm = None;
        job
    };
    for optimizer in ["sgd", "adam", "adamw", "adagrad", "lazy_adam"] {
        let whole = rows_after_steps(&Cluster::new(1), data.path(), &unclipped(small(optimizer, "")));
        let job = unclipped(cut(optimizer, "column_wise"));
        let in_blocks = rows_after_steps(&on_two_hosts(3), data.path(), &job);
        assert!(whole.0.iter().any(|value| *value != 0.0) && whole.1.iter().any(|value| *value != 0.0));
        assert_eq!(in_blocks, whole, "{optimizer}");
        let test = |cluster: Cluster, job: &JobSpec| cluster.train(data.path(), job, None).test;
        let of_whole = test(Cluster::new(1), &unclipped(small(optimizer, "")));
        assert_eq!(test(on_two_hosts(3), &job), of_whole, "{optimizer}: items are ranked by other scores");
    }
}

#[test]
fn row_wise_adagrad_goes_by_whole_rows_also_where_they_are_cut() {
    let data = dataset();
    let whole = rows_after_steps(&Cluster::new(1), data.path(), &small("row_wise_adagrad", ""));
    let in_blocks = rows_after_steps(&on_two_hosts(4), data.path(), &cut("row_wise_adagrad", "grid"));
    // The squares of a row are the same up to the order of their sum; by columns alone steps would differ by tens of percent.
    for (whole, cut) in whole.0.iter().zip(&in_blocks.0) {
        assert!((whole - cut).abs() <= 1e-5 * whole.abs().max(1e-2), "{cut} is not {whole}");
    }
    for (whole, cut) in whole.2.iter().zip(&in_blocks.2) {
        assert!((whole - cut).abs() < 1e-5 * whole, "{cut} is not {whole}");
    }
}

#[test]
fn a_checkpoint_of_one_layout_is_gone_on_from_in_another() {
    let data = dataset();
    for (optimizer, layouts) in
        [("row_wise_adagrad", ["column_wise", "table_row_wise"]), ("adam", ["grid", "row_wise"])]
    {
        let jobs = layouts.map(|layout| cut(optimizer, layout));
        let whole = on_two_hosts(1).train(data.path(), &jobs[0], None);
        let run = tempfile::tempdir().unwrap();
        let stopped = on_two_hosts(3).train_until(data.path(), &jobs[0], run.path(), 3);
        assert!(stopped.drained && stopped.steps == 3);
        let resumed =
            Cluster { generation: 2, ..on_two_hosts(4) }.train(data.path(), &jobs[1], Some(run.path()));
        assert_eq!(resumed.model_digest, whole.model_digest, "{optimizer} {layouts:?}");
        let verdict = muster_worker::checkpoint::verify(run.path(), None).unwrap();
        assert_eq!(verdict.problems, Vec::<String>::new());
    }
}

#[test]
fn a_checkpoint_of_a_table_that_is_cut_otherwise_is_refused_with_both_cuts() {
    let data = dataset();
    let run = tempfile::tempdir().unwrap();
    Cluster::new(1).train(data.path(), &small("adam", ""), Some(run.path()));
    let reader = muster_worker::checkpoint::find(run.path(), false).unwrap();
    let refused = Cluster::new(1).on_ranks(|mut collective| {
        let job = cut("adam", "row_wise");
        let mut trainer = Cluster::new(1).trainer(data.path(), &job, &mut *collective);
        trainer.resume(&reader).unwrap_err().to_string()
    });
    for words in ["table item.0", "table item has 1 column blocks", "x 4 in 8 blocks"] {
        assert!(refused[0].contains(words), "{words} is not in {}", refused[0]);
    }
}
