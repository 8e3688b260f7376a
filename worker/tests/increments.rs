//! Incremental checkpoints: the model of a full one, under any number of workers, or a typed error.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use muster_proto::checkpoint::{Manifest, Writer};
use muster_proto::job::JobSpec;
use muster_worker::checkpoint::{Error, Location, Reader, find, verify};
use muster_worker::train::{Finished, Place};
use support::{Cluster, wide_dataset, wide_job};

const EVERY_TWO: &str = "[checkpoint]\nevery_steps = 2\nmemory_copies = false\n";

fn job_with(text: &str) -> JobSpec {
    wide_job(&format!("{EVERY_TWO}{text}"))
}

fn run(world: usize, data: &Path, job: &JobSpec, dir: &Path, keep: usize) -> Finished {
    let writer = Writer { generation: 1, incarnation: 1 };
    let place = Place { run: Some(Location::of(dir).unwrap()), writer, keep };
    Cluster::new(world).train_at(data, job, &place)
}

/// The checkpoints of a run by step.
fn checkpoints(dir: &Path) -> BTreeMap<u64, Reader> {
    let folders = fs::read_dir(dir.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    let open = |folder: PathBuf| match Reader::open(&Location::of(&folder).unwrap()) {
        Err(Error::NotFound { .. }) => None,
        reader => reader.ok(),
    };
    folders.filter_map(open).map(|reader| (reader.manifest.step, reader)).collect()
}

fn written(manifest: &Manifest) -> u64 {
    manifest.pieces.values().map(|piece| piece.bytes).sum()
}

/// A run of eight steps: full at 2, increments over it at 4 and 6, full at the end.
fn increments(data: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    run(2, data, &job_with(""), dir.path(), 9);
    dir
}

#[test]
fn an_increment_is_the_model_of_the_full_checkpoint_of_its_step_in_fewer_bytes() {
    let data = wide_dataset();
    let cut = "[tables]\ncolumn_blocks = { item = 2 }\nplacement = { item = \"column_wise\" }\n";
    for (kind, cut) in [("lazy_adam", ""), ("row_wise_adagrad", ""), ("row_wise_adagrad", cut)] {
        let optimizer = format!("[table_optimizer]\nkind = \"{kind}\"\n{cut}");
        let full = tempfile::tempdir().unwrap();
        run(1, data.path(), &job_with(&format!("incremental_below = 0.0\n{optimizer}")), full.path(), 9);
        let full = checkpoints(full.path());
        for world in [1, 3] {
            let dir = tempfile::tempdir().unwrap();
            run(world, data.path(), &job_with(&optimizer), dir.path(), 9);
            let found = checkpoints(dir.path());
            let increments: Vec<u64> =
                found.values().filter(|r| r.manifest.base.is_some()).map(|r| r.manifest.step).collect();
            assert_eq!(increments, [4, 6], "{kind} on {world} ranks");
            for (step, reader) in &found {
                assert_eq!(reader.manifest.model_digest, full[step].manifest.model_digest);
                for name in reader.manifest.pieces.keys() {
                    assert_eq!(reader.piece(name).unwrap(), full[step].piece(name).unwrap());
                }
            }
            assert!(written(&found[&4].manifest) < written(&full[&4].manifest) * 3 / 4);
            let verdict = verify(dir.path(), None).unwrap();
            assert_eq!((verdict.increments, verdict.problems.len()), (2, 0), "{:?}", verdict.problems);
        }
    }
}

#[test]
fn a_run_goes_on_from_an_increment_on_another_number_of_ranks_as_if_never_stopped() {
    let data = wide_dataset();
    let whole = Cluster::new(1).train(data.path(), &job_with(""), None);
    for world in [1, 3] {
        let dir = increments(data.path());
        fs::remove_dir_all(dir.path().join("checkpoints/step-000000008-g1")).unwrap();
        assert!(find(dir.path(), false).unwrap().manifest.base.is_some());
        let resumed = Cluster::new(world).train(data.path(), &job_with(""), Some(dir.path()));
        assert_eq!((resumed.steps_here, &resumed.model_digest), (2, &whole.model_digest));
    }
}

#[test]
fn where_every_row_is_written_each_checkpoint_is_full() {
    let data = wide_dataset();
    for text in [
        "[table_optimizer]\nkind = \"adam\"\n",
        "[optimizer]\nkind = \"adamw\"\n[table_optimizer]\nkind = \"sgd\"\n",
    ] {
        let dir = tempfile::tempdir().unwrap();
        run(2, data.path(), &job_with(text), dir.path(), 9);
        let found = checkpoints(dir.path());
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [2, 4, 6, 8]);
        assert!(found.values().all(|reader| reader.manifest.base.is_none()));
    }
}

#[test]
fn a_base_stays_as_long_as_an_increment_over_it() {
    let data = wide_dataset();
    let dir = tempfile::tempdir().unwrap();
    run(1, data.path(), &job_with(""), dir.path(), 1);
    // The newest but one, its base, and the last.
    assert_eq!(checkpoints(dir.path()).into_keys().collect::<Vec<_>>(), [2, 6, 8]);
    assert_eq!(verify(dir.path(), None).unwrap().problems, Vec::<String>::new());
}

/// The first piece of a checkpoint that is in rows, if any, else the first; and its file.
fn a_piece(reader: &Reader) -> (String, PathBuf) {
    let pieces = &reader.manifest.pieces;
    let in_rows = pieces.iter().find(|(_, piece)| piece.rows.is_some());
    let (name, piece) = in_rows.or(pieces.iter().next()).unwrap();
    (name.clone(), reader.file(&piece.file))
}

fn assert_damaged(dir: &Path, words: &[&str]) -> Error {
    let reader = checkpoints(dir).remove(&6).unwrap();
    let (name, _) = a_piece(&reader);
    let error = reader.piece(&name).unwrap_err();
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert!(verify(dir, None).unwrap().problems.contains(&text), "{text}");
    error
}

#[test]
fn a_flipped_byte_or_a_torn_end_of_an_increment_is_a_damaged_piece() {
    let data = wide_dataset();
    for torn in [false, true] {
        let dir = increments(data.path());
        let (_, file) = a_piece(&checkpoints(dir.path())[&6]);
        let mut bytes = fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        if torn {
            bytes.truncate(last);
        } else {
            bytes[last] ^= 1;
        }
        fs::write(&file, bytes).unwrap();
        let error = assert_damaged(dir.path(), &["step-000000006-g1", "digest"]);
        assert!(matches!(error, Error::Piece { .. }), "{error}");
    }
}

#[test]
fn a_missing_torn_flipped_or_replaced_base_is_named_with_the_increment_that_needs_it() {
    let data = wide_dataset();
    let both = ["step-000000006-g1", "step-000000002-g1"];
    let is_of_base = |dir: &Path, word: &str| {
        let error = assert_damaged(dir, &[both[0], both[1], word]);
        assert!(matches!(error, Error::Base { .. }), "{error}");
    };
    let dir = increments(data.path());
    let base = dir.path().join("checkpoints").join(both[1]);
    let (name, _) = a_piece(&checkpoints(dir.path())[&6]);
    let file = base.join(format!("{}.safetensors", name.replace('/', "-")));
    let bytes = fs::read(&file).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for damaged in [&flipped[..], &bytes[..bytes.len() - 7]] {
        fs::write(&file, damaged).unwrap();
        is_of_base(dir.path(), "digest");
    }
    fs::remove_file(&file).unwrap();
    is_of_base(dir.path(), &name);
    fs::remove_file(base.join("manifest.json")).unwrap();
    is_of_base(dir.path(), "no checkpoint");
    // Another model in its place.
    let other = tempfile::tempdir().unwrap();
    run(1, data.path(), &job_with("[optimizer]\nlr = 0.5\n"), other.path(), 9);
    fs::remove_dir_all(&base).unwrap();
    fs::rename(other.path().join("checkpoints").join(both[1]), &base).unwrap();
    is_of_base(dir.path(), "another model");
}

#[test]
fn an_increment_without_its_manifest_is_none_and_the_one_before_is_found() {
    let data = wide_dataset();
    let dir = increments(data.path());
    for step in ["step-000000008-g1", "step-000000006-g1"] {
        fs::remove_file(dir.path().join("checkpoints").join(step).join("manifest.json")).unwrap();
    }
    assert_eq!(find(dir.path(), false).unwrap().manifest.step, 4);
    let whole = Cluster::new(1).train(data.path(), &job_with(""), None);
    let resumed = Cluster::new(2).train(data.path(), &job_with(""), Some(dir.path()));
    assert_eq!((resumed.steps_here, resumed.model_digest), (4, whole.model_digest));
}

#[test]
fn a_manifest_whose_base_leads_out_of_the_run_is_refused() {
    let data = wide_dataset();
    let dir = increments(data.path());
    let file = dir.path().join("checkpoints/step-000000006-g1/manifest.json");
    let text = fs::read_to_string(&file).unwrap();
    for folder in ["../../elsewhere", "..", ""] {
        fs::write(&file, text.replace("\"step-000000002-g1\"", &format!("{folder:?}"))).unwrap();
        let error = find(file.parent().unwrap(), false).unwrap_err();
        assert!(matches!(error, Error::Manifest { .. }), "{error}");
    }
}
