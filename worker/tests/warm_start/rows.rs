//! Where rows begin that take none of the parent's, and what stays as it is for some steps.

use std::path::Path;

use muster_data::{Dataset, Items};
use muster_proto::job::{JobSpec, KeptState, NewRows, WindowSpec};
use muster_worker::checkpoint::find;
use muster_worker::train::Trainer;
use muster_worker::warm_start::Begun;
use tempfile::TempDir;

use super::support::{Cluster, prepare_text};
use super::{begun, data, from, rows_of, run_on, small, weeks, with};

fn items_of(folder: &TempDir) -> Items {
    Dataset::open(&folder.path().join("data")).unwrap().load_items().unwrap()
}

fn is_close(left: &[f32], right: &[f32]) -> bool {
    left.iter().zip(right).all(|(left, right)| (left - right).abs() <= 1e-6 * right.abs().max(1e-3))
}

/// Rows of the item table with their biases, their running squares, and what was begun.
type Rows = (Vec<(Vec<f32>, f32)>, Vec<Vec<f32>>, Begun);

/// The item table before the first step.
fn before_first_step(folder: &TempDir, job: &JobSpec) -> Rows {
    let find = |_: u32, trainer: &Trainer, begun: Begun| {
        let table = &trainer.set.tables[0];
        let squares = (0..table.decl.rows).map(|row| {
            let (shard, local) =
                (&table.shards[&table.decl.block_of(row)], table.decl.local_row(row) as usize);
            shard.state.weight[1][local * shard.dim..(local + 1) * shard.dim].to_vec()
        });
        (rows_of(trainer, 0), squares.collect(), begun)
    };
    begun(&Cluster::new(1), folder, job, find).remove(0)
}

fn mean<'r>(rows: impl Iterator<Item = &'r [f32]>) -> Vec<f32> {
    let rows: Vec<&[f32]> = rows.collect();
    let column =
        |at: usize| (rows.iter().map(|row| f64::from(row[at])).sum::<f64>() / rows.len() as f64) as f32;
    (0..rows[0].len()).map(column).collect()
}

#[test]
fn a_new_item_begins_with_the_mean_of_the_known_ones_of_its_kind_or_at_random() {
    let (old, grown) = (weeks(&[0]), weeks(&[0, 1]));
    let run = run_on(&old, &small(""));
    let job = from(&run, &old, small(""));
    let random = with(job.clone(), |warm| warm.new_rows = NewRows::Random);
    let cold =
        begun(&Cluster::new(1), &grown, &JobSpec { warm_start: None, ..job.clone() }, |_, trainer, _| {
            rows_of(trainer, 0)
        });
    let ((rows, squares, found), (at_random, ..)) =
        (before_first_step(&grown, &job), before_first_step(&grown, &random));
    let (items, known_items) = (items_of(&grown), items_of(&old));
    let kinds = items.attributes("kind").unwrap();
    let is_known = |item: u32| known_items.id(items.key(item)).is_some();
    let known: Vec<u32> = (0..items.len() as u32).filter(|item| is_known(*item)).collect();
    let (mut of_kind, mut without) = (0, 0);
    for item in (0..items.len() as u32).filter(|item| !is_known(*item)) {
        let kind = kinds.of(item).iter().copied().find(|kind| *kind != 0);
        let alike: Vec<u32> = known
            .iter()
            .copied()
            .filter(|other| kind.is_some_and(|kind| kinds.of(*other).contains(&kind)))
            .collect();
        let (row, bias) = &rows[item as usize];
        let donors = if alike.is_empty() { &known } else { &alike };
        let expected = mean(donors.iter().map(|other| &squares[*other as usize][..]));
        assert!(
            expected.iter().all(|square| *square > 0.0) && is_close(&squares[item as usize], &expected),
            "{item}"
        );
        if alike.is_empty() {
            without += 1;
            assert_eq!((row, *bias), (&cold[0][item as usize].0, 0.0), "{item} has no kind");
            continue;
        }
        of_kind += 1;
        assert!(is_close(row, &mean(alike.iter().map(|other| &rows[*other as usize].0[..]))), "{item}");
        let biases: Vec<[f32; 1]> = alike.iter().map(|other| [rows[*other as usize].1]).collect();
        assert!(is_close(&[*bias], &mean(biases.iter().map(|bias| &bias[..]))), "the bias of {item}");
        assert_eq!(at_random[item as usize], cold[0][item as usize], "{item} at random");
    }
    assert!(of_kind > 3 && without > 0, "{of_kind} items of a known kind, {without} without");
    assert_eq!(found, Begun { known: known.len(), new: of_kind + without, evicted: 0 });
}

#[test]
fn a_new_category_begins_as_the_unknown_one_that_it_was_before() {
    let (old, grown) = (weeks(&[0]), weeks(&[0, 1]));
    let run = run_on(&old, &small(""));
    let job = from(&run, &old, small(""));
    let rows = begun(&Cluster::new(1), &grown, &job, |_, trainer, _| rows_of(trainer, 1)).remove(0);
    let of = |folder: &TempDir| {
        Dataset::open(&folder.path().join("data")).unwrap().load_vocabulary("category").unwrap()
    };
    let new = of(&grown).id("c4").unwrap();
    assert_eq!((of(&old).id("c4"), rows[new as usize].clone()), (None, rows[0].clone()));
}

/// A dataset of three users whose items are `middle` but for the last two of each, which are held out.
fn histories(middle: &[&str], held_out: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = String::from("user,item,time\n");
    for user in 0..3 {
        let events = middle.iter().chain([&held_out, &held_out]);
        for (time, item) in events.enumerate() {
            log.push_str(&format!("u{user},{item},{}\n", 1_400_000_000 + time));
        }
    }
    let spec = "name = \"few\"\ninput = \"log.csv\"\nformat = \"csv\"\npartitions = 4\n[columns]\nuser = \"user\"\nitem = \"item\"\n\
        time = \"time\"\n";
    prepare_text(folder.path(), spec, &[("log.csv", &log)]);
    folder
}

#[test]
fn an_item_that_was_not_seen_for_as_many_runs_as_it_takes_begins_anew() {
    let seen = histories(&["a", "b", "old", "c"], "a");
    let unseen = histories(&["a", "b", "c", "a"], "old");
    let job = super::job("[batch]\nmicro_batches = 4\n");
    let window = |folder: &TempDir| WindowSpec {
        dataset: data(folder),
        digest: Dataset::open(Path::new(&data(folder))).unwrap().manifest().digest.clone(),
    };
    let evicted = |parent: &TempDir, runs: Option<u32>, windows: &[&TempDir]| {
        let run = run_on(parent, &job);
        let windows = windows.iter().map(|folder| window(folder)).collect();
        let job =
            with(from(&run, parent, job.clone()), |warm| (warm.evict_after, warm.windows) = (runs, windows));
        begun(&Cluster::new(1), &unseen, &job, |_, _, begun| begun.evicted).remove(0)
    };
    assert_eq!(evicted(&unseen, None, &[]), 0);
    assert_eq!(evicted(&seen, Some(1), &[]), 1);
    assert_eq!(evicted(&seen, Some(2), &[]), 0, "the parent's run saw it");
    assert_eq!(evicted(&unseen, Some(2), &[]), 1);
    assert_eq!(evicted(&unseen, Some(3), &[]), 0, "there were only two runs");
    assert_eq!(evicted(&unseen, Some(3), &[&unseen]), 1);
    assert_eq!(evicted(&unseen, Some(3), &[&seen]), 0, "the run before the parent's saw it");
}

#[test]
fn what_is_frozen_stays_as_it_is_for_so_many_steps() {
    let (old, grown) = (weeks(&[0]), weeks(&[0, 1]));
    let text = "[training]\nclip_norm = 0.1\n";
    let run = run_on(&old, &small(text));
    let job = from(&run, &old, small(text));
    let steps = |tables: u64, dense: u64| {
        let job = with(job.clone(), |warm| (warm.freeze_tables, warm.freeze_dense) = (tables, dense));
        let cluster = Cluster::new(1);
        let found = cluster.on_ranks(|mut collective| {
            let mut trainer = cluster.trainer(grown.path(), &job, &mut *collective);
            muster_worker::warm_start::begin(&mut trainer, &mut *collective).unwrap();
            let state = |trainer: &Trainer| (rows_of(trainer, 0), trainer.dense.values.clone());
            let mut states = vec![state(&trainer)];
            for _ in 0..3 {
                trainer.step(0, &mut *collective).unwrap();
                states.push(state(&trainer));
            }
            let moved = |pair: &[(Vec<_>, Vec<_>)]| (pair[0].0 != pair[1].0, pair[0].1 != pair[1].1);
            states.windows(2).map(moved).collect::<Vec<_>>()
        });
        found.into_iter().next().unwrap()
    };
    assert_eq!(steps(2, 0), [(false, true), (false, true), (true, true)]);
    assert_eq!(steps(0, 1), [(true, false), (true, true), (true, true)]);
    assert_eq!(steps(1, 1), [(false, false), (true, true), (true, true)]);
}

#[test]
fn the_bias_correction_counts_the_updates_of_the_parent() {
    let old = weeks(&[0]);
    let run = run_on(&old, &small(""));
    let job = from(&run, &old, small(""));
    let way = |job: &JobSpec| {
        let cluster = Cluster::new(1);
        let found = cluster.on_ranks(|mut collective| {
            let mut trainer = cluster.trainer(old.path(), job, &mut *collective);
            muster_worker::warm_start::begin(&mut trainer, &mut *collective).unwrap();
            let before = trainer.dense.values.clone();
            trainer.step(0, &mut *collective).unwrap();
            before.iter().zip(&trainer.dense.values).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>()
        });
        found[0]
    };
    let forgetful = with(job.clone(), |warm| warm.dense_updates = 0);
    let reset = with(job.clone(), |warm| warm.optimizer_state = KeptState::Reset);
    // Running means that are full, taken for means of one step, give steps that are too long or too short by far.
    let (counted, forgot) = (way(&job), way(&forgetful));
    assert!((counted / forgot - 1.0).abs() > 0.3, "{counted} and {forgot}");
    // Adam's first step from no state moves each parameter by the learning rate.
    assert!(way(&reset) > counted, "{} and {counted}", way(&reset));
}

#[test]
fn a_run_that_began_from_another_goes_on_from_its_own_checkpoint_as_if_never_stopped() {
    let (old, grown) = (weeks(&[0]), weeks(&[0, 1]));
    let run = run_on(&old, &small(""));
    let job = with(from(&run, &old, small("")), |warm| warm.freeze_tables = 4);
    let whole = Cluster::new(1).train(grown.path(), &job, None).model_digest;
    for (before, after) in [(1, 3), (3, 2)] {
        let child = tempfile::tempdir().unwrap();
        let stopped = Cluster::new(before).train_until(grown.path(), &job, child.path(), 3);
        assert!(stopped.drained && stopped.steps == 3);
        let resumed =
            Cluster { generation: 2, ..Cluster::new(after) }.train(grown.path(), &job, Some(child.path()));
        assert_eq!(resumed.model_digest, whole, "{before} to {after}");
        let dataset = Dataset::open(Path::new(&data(&grown))).unwrap();
        let verdict = muster_worker::checkpoint::verify(child.path(), Some(&dataset)).unwrap();
        assert_eq!(verdict.problems, Vec::<String>::new());
    }
}

#[test]
fn a_grandchild_counts_the_updates_of_all_before_it() {
    let (first, second) = (weeks(&[0]), weeks(&[0, 1]));
    let run = run_on(&first, &small(""));
    let child = with(from(&run, &first, small("")), |warm| warm.freeze_dense = 2);
    let (steps, before) = (find(run.path(), true).unwrap().manifest.step, child.warm_start.clone().unwrap());
    assert_eq!((before.table_updates, before.dense_updates), (steps, steps));
    let run = run_on(&second, &child);
    let own = find(run.path(), true).unwrap().manifest.step;
    let grandchild = from(&run, &second, small("")).warm_start.unwrap();
    assert_eq!((grandchild.table_updates, grandchild.dense_updates), (steps + own, steps + own - 2));
}
