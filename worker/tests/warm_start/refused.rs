//! Parents that a job cannot begin from: what differs is named with both values.

use muster_proto::job::{JobSpec, WarmStartSpec, WindowSpec};
use muster_worker::checkpoint;
use muster_worker::warm_start::{Error, begin};
use tempfile::TempDir;

use super::support::Cluster;
use super::{data, from, run_on, small, weeks, with};

/// Why the job cannot begin.
fn refusal(folder: &TempDir, job: &JobSpec) -> Error {
    let cluster = Cluster::new(1);
    let found = cluster.on_ranks(|mut collective| {
        let mut trainer = cluster.trainer(folder.path(), job, &mut *collective);
        begin(&mut trainer, &mut *collective).unwrap_err()
    });
    found.into_iter().next().unwrap()
}

#[test]
fn a_parent_of_another_shape_is_refused_with_the_key_and_both_values() {
    let old = weeks(&[0]);
    let run = run_on(&old, &small(""));
    for (text, words) in [
        ("[model]\nhidden_size = 12\nprojection = 8\n", "model.hidden_size is 8 there and 12 in the job"),
        ("[model]\nlayers = 2\n", "model.layers is 1 there and 2 in the job"),
        (
            "[model.head.softmax]\ntied = false\n",
            "model.head is tied, with biases there and with a table of its own",
        ),
        ("[table_optimizer]\nkind = \"adagrad\"\n", "table_optimizer.kind is \"adam\" there and \"adagrad\""),
        (
            "[model.head.sampled_softmax]\nnegatives = 3\n[tables]\ncolumn_blocks = { item = 2 }\n",
            "column_blocks.item is 1 there and 2",
        ),
    ] {
        let error = refusal(&old, &from(&run, &old, small(text)));
        assert!(matches!(error, Error::Unlike { .. }) && error.to_string().contains(words), "{error}");
    }
    let mut other = small("");
    other.model.features[0].dim = Some(6);
    let error = refusal(&old, &from(&run, &old, other)).to_string();
    assert!(error.contains("model.features is category (4) there and category (6) in the job"), "{error}");
}

#[test]
fn another_optimizer_may_begin_where_its_state_begins_anew() {
    let old = weeks(&[0]);
    let run = run_on(&old, &small(""));
    let job = from(&run, &old, small("[table_optimizer]\nkind = \"adagrad\"\nlr = 0.02\n"));
    let job = with(job, |warm| warm.optimizer_state = muster_proto::job::KeptState::Reset);
    let digest = |world| Cluster::new(world).train(old.path(), &job, None).model_digest;
    assert_eq!(digest(1), digest(3));
}

#[test]
fn a_parent_that_is_missing_another_model_or_of_another_dataset_is_named() {
    let (old, other) = (weeks(&[0]), weeks(&[1]));
    let run = run_on(&old, &small(""));
    let job = from(&run, &old, small(""));
    let refused =
        |change: &dyn Fn(&mut WarmStartSpec)| refusal(&old, &with(job.clone(), |warm| change(warm)));
    let missing = refused(&|warm| warm.parent = old.path().display().to_string());
    assert!(matches!(missing, Error::Checkpoint(checkpoint::Error::NotFound { .. })), "{missing}");
    let another = refused(&|warm| warm.model_digest = Some("ab".into()));
    assert!(another.to_string().contains("not ab"), "{another}");
    assert!(matches!(refused(&|warm| warm.dataset = None), Error::NoDataset { .. }));
    let dataset = refused(&|warm| warm.dataset = Some(data(&other)));
    assert!(dataset.to_string().contains("is not the dataset of the parent in"), "{dataset}");
    let window = WindowSpec { dataset: data(&other), digest: "cd".into() };
    let windows = refused(&|warm| {
        (warm.evict_after, warm.windows) = (Some(3), vec![window.clone()]);
    });
    assert!(
        windows.to_string().contains("warm_start.windows") && windows.to_string().contains("not cd"),
        "{windows}"
    );
}

#[test]
fn a_damaged_piece_of_the_parent_is_named() {
    let old = weeks(&[0]);
    let run = run_on(&old, &small(""));
    let job = from(&run, &old, small(""));
    let parent = std::path::PathBuf::from(&job.warm_start.as_ref().unwrap().parent);
    let piece = parent.join("table-item-0003.safetensors");
    let mut bytes = std::fs::read(&piece).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&piece, bytes).unwrap();
    let error = refusal(&old, &job);
    assert!(error.to_string().contains("table/item/0003 is damaged"), "{error}");
}

#[test]
fn a_dataset_without_an_item_that_the_parent_knows_is_refused() {
    let old = weeks(&[0]);
    let run = run_on(&old, &small(""));
    let strange = tempfile::tempdir().unwrap();
    let log = super::week(0).replace(",i", ",x").replace(",xtem", ",item");
    super::prepare_text(strange.path(), super::SPEC, &[("log-0.csv", &log), ("items.csv", &super::items())]);
    let error = refusal(&strange, &from(&run, &old, small("")));
    assert!(matches!(error, Error::Strangers { .. }), "{error}");
}

#[test]
fn a_run_does_not_go_on_with_another_beginning() {
    let old = weeks(&[0]);
    let (run, child) = (run_on(&old, &small("")), tempfile::tempdir().unwrap());
    let job = from(&run, &old, small(""));
    Cluster::new(1).train_until(old.path(), &job, child.path(), 2);
    let reader = checkpoint::find(child.path(), false).unwrap();
    let cold = JobSpec { warm_start: None, ..job };
    let refused = Cluster::new(1).on_ranks(|mut collective| {
        let mut trainer = Cluster::new(1).trainer(old.path(), &cold, &mut *collective);
        trainer.resume(&reader).unwrap_err().to_string()
    });
    assert!(
        refused[0].contains("warm_start is parent = ") && refused[0].contains("absent in the job"),
        "{}",
        refused[0]
    );
}
