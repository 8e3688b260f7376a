//! A vocabulary that grew: scores of known items, and one digest whoever trains.

use std::collections::BTreeMap;

use muster_collective::Collective;
use muster_data::Dataset;
use muster_data::prepare::{AddArgs, CutArgs, Window, add, cut};
use muster_proto::checkpoint::model_digest;
use muster_proto::config;
use muster_proto::dataset::DatasetSpec;
use muster_proto::job::{JobSpec, NewRows};
use muster_proto::sharding::Placement;
use muster_worker::checkpoint::{Extent, find};
use muster_worker::recommend::recommend;
use muster_worker::train::Trainer;
use muster_worker::warm_start::begin;
use tempfile::TempDir;

use super::support::Cluster;
use super::{SPEC, begun, from, items, rows_of, run_on, small, week, weeks, with};

/// The digest of the model before its first step, on so many ranks.
fn digest_before_first_step(cluster: &Cluster, folder: &TempDir, job: &JobSpec) -> String {
    let pieces =
        begun(cluster, folder, job, |rank, trainer, _| trainer.snapshot(rank, Extent::Full).digests());
    model_digest(&pieces.into_iter().flatten().collect())
}

/// The scores that the model gives all items after a user's history, but for those in it, by key.
fn scores(trainer: &mut Trainer, user: &str, collective: &mut dyn Collective) -> BTreeMap<String, u32> {
    let dataset = trainer.dataset.clone();
    let (partition, local) = dataset.find_user(user).unwrap().unwrap();
    let items = dataset.load_items().unwrap();
    let list = recommend(trainer, &partition, local, items.len(), collective).unwrap();
    list.into_iter().map(|item| (items.key(item.item).to_owned(), item.score.to_bits())).collect()
}

/// The scores for users whose history is the same in both datasets.
fn all_scores(folder: &TempDir, job: &JobSpec, trained: Option<&TempDir>) -> Vec<BTreeMap<String, u32>> {
    let cluster = Cluster::new(1);
    let found = cluster.on_ranks(|mut collective| {
        let mut trainer = cluster.trainer(folder.path(), job, &mut *collective);
        match trained {
            Some(run) => trainer.load(&find(run.path(), true).unwrap()).unwrap(),
            None => drop(begin(&mut trainer, &mut *collective).unwrap()),
        }
        (40..60).map(|user| scores(&mut trainer, &format!("u{user}"), &mut *collective)).collect()
    });
    found.into_iter().next().unwrap()
}

fn assert_known_scores_are_kept(old: &TempDir, grown: &TempDir, text: &str) {
    let job = small(text);
    let run = run_on(old, &job);
    let before = all_scores(old, &job, Some(&run));
    let after = all_scores(grown, &from(&run, old, job), None);
    for (before, after) in before.iter().zip(&after) {
        assert!(before.len() > 8 && after.len() > before.len() + 5, "{} and {}", before.len(), after.len());
        for (item, score) in before {
            assert_eq!(after[item], *score, "the score of {item} is another one ({text})");
        }
    }
}

#[test]
fn a_vocabulary_that_grew_leaves_the_scores_of_known_items_as_they_were_bit_for_bit() {
    let (old, grown) = (weeks(&[0]), weeks(&[0, 1]));
    let same_id = |id: u32| {
        let key = |folder: &TempDir| {
            Dataset::open(&folder.path().join("data")).unwrap().load_items().unwrap().key(id).to_owned()
        };
        key(&old) == key(&grown)
    };
    assert!(!(0..20).all(same_id), "ids are to be a prefix in the other test only");
    assert_known_scores_are_kept(&old, &grown, "");
    assert_known_scores_are_kept(&old, &grown, "[model.head.softmax]\ntied = false\n");
}

#[test]
fn a_dataset_that_was_cut_with_its_parent_keeps_the_scores_too() {
    let (old, grown) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let base = tempfile::tempdir().unwrap();
    let spec: DatasetSpec = config::parse(SPEC, "dataset.toml", &[]).unwrap();
    let store = base.path().join("base");
    let mut parent = None;
    for (number, to) in [(0, &old), (1, &grown)] {
        std::fs::write(base.path().join(format!("log-{number}.csv")), week(number)).unwrap();
        std::fs::write(base.path().join("items.csv"), items()).unwrap();
        let none = |_: &str| None;
        let (base, threads, variables) = (base.path(), 2, &none);
        let (by, pulse) = (None, &|| true);
        add(&AddArgs { spec: &spec, base, store: &store, threads, variables, by, pulse }).unwrap();
        let out = to.path().join("data");
        let args = CutArgs {
            spec: &spec,
            base,
            store: &store,
            parent: parent.as_deref(),
            out: &out,
            threads,
            variables,
            window: Window::default(),
            increments: None,
            pulse,
        };
        cut(&args).unwrap();
        parent = Some(out);
    }
    assert_known_scores_are_kept(&old, &grown, "");
}

#[test]
fn a_model_on_the_dataset_of_its_parent_begins_with_every_bit_of_it() {
    let old = weeks(&[0]);
    for optimizer in ["adam", "adagrad", "sgd"] {
        let job = small(&format!("kind = \"{optimizer}\"\n[training]\nepochs = 1\n"));
        let run = run_on(&old, &job);
        let digest = find(run.path(), true).unwrap().manifest.model_digest;
        for world in [1, 3] {
            let job = from(&run, &old, job.clone());
            assert_eq!(digest_before_first_step(&Cluster::new(world), &old, &job), digest, "{optimizer}");
        }
    }
}

#[test]
fn one_window_and_one_parent_give_one_digest_on_any_number_of_ranks_under_any_placement() {
    let (old, grown) = (weeks(&[0]), weeks(&[0, 1]));
    let sampled =
        "[model.head.sampled_softmax]\nnegatives = 12\n[table_optimizer]\nkind = \"lazy_adam\"\nlr = 0.02\n";
    let cut = format!("{sampled}[tables]\ncolumn_blocks = {{ item = 2 }}\n");
    let row_wise = "[model.head.sampled_softmax]\nnegatives = 12\n[table_optimizer]\nkind = \"row_wise_adagrad\"\nlr = 0.02\n";
    for text in ["[training]\nclip_norm = 0.5\n", sampled, &cut, row_wise] {
        let short = |mut job: JobSpec| {
            job.training.max_steps = Some(7);
            job
        };
        let run = run_on(&old, &short(small(text)));
        let job = from(&run, &old, short(small(text)));
        let mut found = Vec::new();
        for placement in [Placement::RowWise, Placement::TableWise, Placement::DataParallel] {
            let mut job = job.clone();
            if !text.contains("column_blocks") {
                job.tables.placement.insert("item".into(), placement);
            }
            for world in [1, 2, 3, 4] {
                let digest = digest_before_first_step(&Cluster::new(world), &grown, &job);
                found.push((digest, Cluster::new(world).train(grown.path(), &job, None).model_digest));
            }
        }
        assert!(found.iter().all(|digests| *digests == found[0]), "{text}: {found:#?}");
        let cold = JobSpec { warm_start: None, ..job };
        assert_ne!(Cluster::new(1).train(grown.path(), &cold, None).model_digest, found[0].1);
    }
}

#[test]
fn a_table_that_is_cut_into_other_row_blocks_than_the_parents_has_the_same_rows() {
    let (old, grown) = (weeks(&[0]), weeks(&[0, 1]));
    let run = run_on(&old, &small(""));
    let rows = |blocks: u32| {
        let mut job = with(from(&run, &old, small("")), |warm| warm.new_rows = NewRows::Random);
        job.tables.row_blocks = blocks;
        let cluster = Cluster::new(1);
        begun(&cluster, &grown, &job, |_, trainer, _| rows_of(trainer, 0)).remove(0)
    };
    assert_eq!(rows(8), rows(3));
}
