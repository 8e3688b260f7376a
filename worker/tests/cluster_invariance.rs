//! Invariant 2: results do not know the cluster. One job gives the same digest over all logical pieces on any number
//! of ranks, under any placement, for each head and optimizer; ranks are threads here, the collectives are real.

mod support;

use muster_proto::job::JobSpec;
use support::{Cluster, dataset, job};

fn digests(dataset: &std::path::Path, job: &JobSpec, worlds: &[usize]) -> Vec<String> {
    worlds.iter().map(|world| Cluster::new(*world).train(dataset, job, None).model_digest).collect()
}

fn assert_invariant(what: &str, job: &JobSpec) {
    let data = dataset();
    let digests = digests(data.path(), job, &[1, 2, 3, 4, 8]);
    assert!(digests.iter().all(|d| d == &digests[0]), "{what}: digests differ by world size: {digests:#?}");
}

#[test]
fn a_full_softmax_job_gives_one_digest_on_1_2_3_4_and_8_ranks_under_every_placement() {
    let mut seen = Vec::new();
    for placement in ["row_wise", "table_wise", "data_parallel"] {
        let job = job(&format!("[tables.placement]\nitem = \"{placement}\"\n"));
        assert_invariant(placement, &job);
        seen.extend(digests(dataset().path(), &job, &[2]));
    }
    assert!(seen.iter().all(|d| d == &seen[0]), "placements differ: {seen:#?}");
}

#[test]
fn a_checkpoint_of_4_ranks_goes_on_on_1_2_3_and_8_with_another_plan_and_the_other_way_round() {
    let (data, with) = (dataset(), |placement| job(&format!("[tables.placement]\nitem = \"{placement}\"\n")));
    let whole = Cluster::new(1).train(data.path(), &with("row_wise"), None).model_digest;
    let ways = [1, 2, 3, 8].map(|world| [(4, world), (world, 4)]).concat();
    let plans = ["row_wise", "table_wise", "data_parallel", "row_wise"];
    for ((before, after), plans) in ways.into_iter().zip(plans.windows(2).cycle()) {
        let run = tempfile::tempdir().unwrap();
        let begun = Cluster::new(before).train_until(data.path(), &with(plans[0]), run.path(), 3);
        let ended = Cluster::new(after).train(data.path(), &with(plans[1]), Some(run.path()));
        assert_eq!(
            (begun.steps_here, ended.model_digest),
            (3, whole.clone()),
            "{before} to {after}, {plans:?}"
        );
    }
}

#[test]
fn every_head_gives_one_digest_on_any_number_of_ranks() {
    for head in [
        "[model.head.softmax]\ntied = false\n",
        "[model.head.softmax]\nbias = false\n",
        "[model.head.softmax]\nprecision = \"bf16\"\n",
        "[model.head.sampled_softmax]\nnegatives = 20\n",
        "[model.head.sampled_softmax]\nnegatives = 20\ntied = false\n",
        "[model.head.mse]\nlabel = \"rating\"\n",
        "[model.head.bce]\nlabel = \"clicked\"\ntied = false\n",
    ] {
        assert_invariant(head, &job(head));
    }
}

#[test]
fn every_optimizer_gives_one_digest_on_any_number_of_ranks() {
    for kind in ["sgd", "adam", "adamw", "adagrad"] {
        let text =
            format!("[optimizer]\nkind = \"{kind}\"\nlr = 0.01\nmomentum = 0.5\nweight_decay = 0.01\n");
        assert_invariant(kind, &job(&text));
    }
    for kind in ["row_wise_adagrad", "lazy_adam"] {
        let tables = format!("[table_optimizer]\nkind = \"{kind}\"\nlr = 0.01\n");
        assert_invariant(kind, &job(&tables));
        assert_invariant(kind, &job(&format!("{tables}[model.head.sampled_softmax]\nnegatives = 20\n")));
    }
}

#[test]
fn clipping_dropout_features_projection_and_schedules_give_one_digest_on_any_number_of_ranks() {
    let text = "[model]\nembedding_dim = 8\nhidden_size = 12\nlayers = 2\nprojection = 8\ndropout_embedding = 0.2\n\
        dropout_layers = 0.2\ndropout_output = 0.2\n[[model.features]]\ncolumn = \"category\"\ndim = 4\n\
        [[model.features]]\ncolumn = \"rating\"\n[training]\nclip_norm = 0.1\nepochs = 2\n\
        [schedule]\nwarmup_steps = 3\ndecay = \"cosine\"\n[batch]\nwindow = \"all\"\nmax_len = 4\nmicro_batches = 5\n";
    assert_invariant("everything at once", &job(text));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let (data, job) = (dataset(), job(""));
    let one = Cluster::new(1).train(data.path(), &job, None).model_digest;
    let three = Cluster { threads: 3, ..Cluster::new(2) }.train(data.path(), &job, None).model_digest;
    assert_eq!(one, three);
}

#[test]
fn shared_memory_and_tcp_give_the_same_digest() {
    let (data, job) = (dataset(), job(""));
    let over =
        |transport| Cluster { transport, ..Cluster::new(3) }.train(data.path(), &job, None).model_digest;
    assert_eq!(over(muster_collective::Transport::Tcp), over(muster_collective::Transport::Shm));
}

#[test]
fn validation_and_test_metrics_are_the_same_on_any_number_of_ranks() {
    let (data, job) = (dataset(), job(""));
    let one = Cluster::new(1).train(data.path(), &job, None);
    for world in [2, 4, 8] {
        let other = Cluster::new(world).train(data.path(), &job, None);
        assert_eq!(one.test, other.test, "test on {world} ranks");
        assert_eq!(one.validation, other.validation, "validation on {world} ranks");
    }
}

#[test]
fn another_seed_gives_another_digest() {
    let data = dataset();
    let digest = |seed: u64| {
        let mut job = job("");
        job.seed = seed;
        Cluster::new(1).train(data.path(), &job, None).model_digest
    };
    assert_ne!(digest(1), digest(2));
}

#[test]
fn rounded_operands_change_the_model_and_hardly_its_loss() {
    let data = dataset();
    let losses = |text: &str| {
        let all = Cluster::new(1).on_ranks(|mut collective| {
            let mut trainer = Cluster::new(1).trainer(data.path(), &job(text), &mut *collective);
            (0..6).map(|_| trainer.step(0, &mut *collective).unwrap().loss).collect::<Vec<f64>>()
        });
        all.into_iter().next().unwrap()
    };
    let (exact, rounded) = (losses(""), losses("[model.head.softmax]\nprecision = \"bf16\"\n"));
    assert_ne!(exact, rounded);
    for (exact, rounded) in exact.iter().zip(&rounded) {
        let off = (exact - rounded).abs() / exact;
        assert!(off < 1e-3, "a loss is {off} of itself away");
    }
}
