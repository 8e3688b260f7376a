//! Job files and datasets that cannot be trained. Each is refused before a process is started or a folder made.

use std::fs;

use muster_tests::folder::Folder;
use muster_tests::refusal::{Refusal, assert_refused};
use muster_tests::small::JOB;

use crate::{folder, prepared};

/// Trains what is in the folder, checks the refusal, and that no checkpoint came of it.
fn refuse(folder: &Folder, expected: Refusal<'_>) {
    let outcome = folder.muster(&["train", "job.toml", "--dataset", "prepared", "--out", "run"]);
    assert_refused(&outcome, expected);
    assert!(!has_manifest(folder), "a refused run looks whole");
}

fn has_manifest(folder: &Folder) -> bool {
    let Ok(checkpoints) = fs::read_dir(folder.at("run/checkpoints")) else { return false };
    checkpoints.flatten().any(|checkpoint| checkpoint.path().join("manifest.json").exists())
}

/// The good job with one line replaced, over a dataset that is not even looked at.
fn refuse_job(old: &str, new: &str, field: &str, words: &[&str]) {
    assert!(JOB.contains(old), "{old} is not in the job");
    let folder = folder();
    folder.write("job.toml", JOB.replace(old, new));
    refuse(&folder, Refusal { code: 2, file: "job.toml", field, words });
    assert!(!folder.at("run").exists(), "a folder was made for a job that is refused");
}

#[test]
fn a_job_file_that_is_not_there_is_named() {
    let folder = folder();
    fs::remove_file(folder.at("job.toml")).unwrap();
    refuse(&folder, Refusal { code: 2, file: "job.toml", field: "", words: &["job.toml", "no such file"] });
}

#[test]
fn a_key_that_is_unknown_comes_with_the_nearest_one() {
    refuse_job("max_len", "max_length", "batch.max_length", &["max_len"]);
}

#[test]
fn a_batch_below_zero_is_refused() {
    refuse_job("sequences = 8", "sequences = -8", "batch.sequences", &["-8"]);
}

#[test]
fn no_micro_batches_at_all_are_refused() {
    refuse_job("micro_batches = 4", "micro_batches = 0", "batch.micro_batches", &["between 1 and"]);
}

#[test]
fn text_where_a_number_should_be_is_refused() {
    refuse_job("epochs = 1", "epochs = \"many\"", "training.epochs", &["many"]);
}

#[test]
fn a_learning_rate_that_is_not_a_number_is_refused() {
    refuse_job("[training]", "[optimizer]\nlr = nan\n\n[training]", "optimizer.lr", &["number"]);
}

#[test]
fn a_dropout_above_one_is_refused() {
    refuse_job(
        "hidden_size = 8",
        "hidden_size = 8\ndropout_output = 1.5",
        "model.dropout_output",
        &["below 1"],
    );
}

#[test]
fn an_optimizer_that_does_not_exist_is_refused_with_those_that_do() {
    refuse_job(
        "[training]",
        "[optimizer]\nkind = \"adamm\"\n\n[training]",
        "optimizer.kind",
        &["adamm", "adam"],
    );
}

#[test]
fn a_tied_head_of_another_width_than_the_table_says_what_to_set() {
    refuse_job("hidden_size = 8", "hidden_size = 16", "model.head", &["projection"]);
}

/// The good job with sampled negatives and more text, refused as `refuse_job` does.
fn refuse_tables(more: &str, field: &str, words: &[&str]) {
    let sampled = "[model.head.sampled_softmax]\nnegatives = 3\n\n[training]";
    refuse_job("[training]", &format!("{more}\n{sampled}"), field, words);
}

#[test]
fn a_cut_into_columns_that_cannot_be_is_refused_with_those_that_can() {
    for blocks in ["0", "3", "4", "8"] {
        let more = format!("[tables.column_blocks]\nitem = {blocks}\n");
        refuse_tables(&more, "tables.column_blocks.item", &["equal blocks of at least 4", "1, 2"]);
    }
    refuse_tables("[tables.column_blocks]\nitem = -2\n", "tables.column_blocks.item", &["-2"]);
}

#[test]
fn a_cut_of_a_table_that_is_not_there_is_refused_with_those_that_are() {
    let more = "[tables.column_blocks]\noutput = 2\n";
    refuse_tables(more, "tables.column_blocks.output", &["no such table", "item"]);
}

#[test]
fn a_table_that_a_softmax_scores_whole_is_not_cut_into_columns() {
    let more = "[tables.column_blocks]\nitem = 2\n\n[training]";
    refuse_job(
        "[training]",
        more,
        "tables.column_blocks.item",
        &["scores this table whole", "sampled_softmax"],
    );
}

#[test]
fn a_placement_that_does_not_exist_or_has_no_columns_to_spread_is_refused() {
    let placed = |word: &str| format!("[tables.placement]\nitem = \"{word}\"\n\n[training]");
    let field = "tables.placement.item";
    refuse_job("[training]", &placed("colum_wise"), field, &["colum_wise", "did you mean `column_wise`"]);
    refuse_job("[training]", &placed("grid"), field, &["tables.column_blocks.item", "table_row_wise"]);
}

#[test]
fn a_gpu_for_a_table_that_is_cut_into_columns_is_refused_by_the_key() {
    let folder = prepared();
    let sampled =
        "[model.head.sampled_softmax]\nnegatives = 3\n\n[tables.column_blocks]\nitem = 2\n\n[training]";
    folder.write("job.toml", JOB.replace("[training]", sampled));
    let outcome =
        folder.muster(&["train", "job.toml", "--dataset", "prepared", "--out", "run", "--device", "cuda"]);
    let words = ["only CPU workers", "--device cpu"];
    let field = "tables.column_blocks.item";
    assert_refused(&outcome, Refusal { code: 2, file: "job.toml", field, words: &words });
    assert!(!folder.at("run").exists(), "a folder was made for a job that is refused");
}

#[test]
fn a_list_length_of_zero_is_refused() {
    refuse_job("[training]", "[evaluation]\nks = [0]\n\n[training]", "evaluation.ks", &["between 1"]);
}

#[test]
fn early_stopping_without_patience_is_refused() {
    let stopping = "epochs = 1\nearly_stopping = { metric = \"NDCG@10\", patience = 0 }";
    refuse_job("epochs = 1", stopping, "training.early_stopping.patience", &["at least 1"]);
}

#[test]
fn a_metric_that_validation_does_not_give_ends_the_run_with_those_it_gives() {
    let folder = prepared();
    let stopping = "epochs = 1\nearly_stopping = { metric = \"NDCG@7\", patience = 1 }";
    folder.write("job.toml", JOB.replace("epochs = 1", stopping));
    let words = ["training.early_stopping.metric", "NDCG@7", "NDCG@10"];
    refuse(&folder, Refusal { code: 1, file: "", field: "", words: &words });
}

#[test]
fn everything_that_is_wrong_with_a_job_is_said_at_once() {
    let folder = folder();
    folder
        .write("job.toml", JOB.replace("sequences = 8", "sequences = 0").replace("epochs = 1", "epochs = 0"));
    let words = ["batch.sequences", "training.epochs"];
    refuse(&folder, Refusal { code: 2, file: "job.toml", field: "batch.sequences", words: &words });
}

#[test]
fn a_dataset_that_is_not_there_is_named() {
    refuse(
        &folder(),
        Refusal { code: 2, file: "prepared/manifest.json", field: "", words: &["muster prepare"] },
    );
}

#[test]
fn a_folder_without_a_manifest_is_no_dataset() {
    let folder = prepared();
    fs::remove_file(folder.at("prepared/manifest.json")).unwrap();
    refuse(
        &folder,
        Refusal { code: 2, file: "prepared/manifest.json", field: "", words: &["muster prepare"] },
    );
}

#[test]
fn a_manifest_that_is_torn_is_refused() {
    let folder = prepared();
    let manifest = fs::read(folder.at("prepared/manifest.json")).unwrap();
    folder.write("prepared/manifest.json", &manifest[..manifest.len() / 2]);
    refuse(&folder, Refusal { code: 2, file: "manifest.json", field: "", words: &["manifest.json"] });
}

#[test]
fn a_manifest_that_was_edited_is_refused() {
    let folder = prepared();
    let manifest = fs::read_to_string(folder.at("prepared/manifest.json")).unwrap();
    let edited =
        manifest.replacen("\"users\": 12", "\"users\": 13", 1).replacen("\"users\":12", "\"users\":13", 1);
    assert_ne!(manifest, edited);
    folder.write("prepared/manifest.json", edited);
    refuse(&folder, Refusal { code: 2, file: "manifest.json", field: "digest", words: &["digest"] });
}

/// The first file of a log partition that is not empty.
fn partition_file(folder: &Folder) -> String {
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.at("prepared/manifest.json")).unwrap()).unwrap();
    let partitions = manifest["partitions"].as_array().unwrap();
    let partition = partitions.iter().find(|partition| partition["users"].as_u64() > Some(0)).unwrap();
    format!("prepared/{}", partition["file"].as_str().unwrap())
}

#[test]
fn a_log_partition_that_is_missing_ends_the_run_with_its_name() {
    let folder = prepared();
    let partition = partition_file(&folder);
    fs::remove_file(folder.at(&partition)).unwrap();
    refuse(&folder, Refusal { code: 1, file: "", field: "", words: &[&partition] });
}

#[test]
fn a_log_partition_with_a_flipped_bit_ends_the_run_with_its_name() {
    let folder = prepared();
    let partition = partition_file(&folder);
    let mut bytes = fs::read(folder.at(&partition)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    folder.write(&partition, bytes);
    refuse(&folder, Refusal { code: 1, file: "", field: "", words: &[&partition, "digest"] });
}

#[test]
fn a_log_partition_that_is_cut_short_ends_the_run_with_its_name() {
    let folder = prepared();
    let partition = partition_file(&folder);
    let bytes = fs::read(folder.at(&partition)).unwrap();
    folder.write(&partition, &bytes[..bytes.len() - 3]);
    refuse(&folder, Refusal { code: 1, file: "", field: "", words: &[&partition] });
}

#[test]
fn a_feature_that_the_dataset_lacks_is_named_with_those_it_has() {
    let folder = prepared();
    let features = "hidden_size = 8\nfeatures = [{ column = \"brand\", dim = 4 }]";
    folder.write("job.toml", JOB.replace("hidden_size = 8", features));
    refuse(
        &folder,
        Refusal { code: 2, file: "job.toml", field: "model.features", words: &["brand", "categorical"] },
    );
    assert!(!folder.at("run").exists());
}

#[test]
fn a_label_that_the_dataset_lacks_is_named() {
    let folder = prepared();
    folder
        .write("job.toml", JOB.replace("[training]", "[model.head.bce]\nlabel = \"clicked\"\n\n[training]"));
    refuse(&folder, Refusal { code: 2, file: "job.toml", field: "model.head", words: &["clicked"] });
}

#[test]
fn a_run_directory_with_files_in_it_is_not_written_to() {
    let folder = prepared();
    folder.write("run/precious.txt", "mine");
    refuse(&folder, Refusal { code: 2, file: "run", field: "--out", words: &["not empty"] });
    assert_eq!(fs::read_dir(folder.at("run")).unwrap().count(), 1);
}

#[test]
fn a_run_without_a_checkpoint_cannot_be_resumed() {
    let folder = prepared();
    fs::create_dir(folder.at("old")).unwrap();
    let outcome = folder.muster(&["train", "job.toml", "--dataset", "prepared", "--resume", "old"]);
    assert_refused(&outcome, Refusal { code: 2, file: "old", field: "--resume", words: &["checkpoint"] });
}

#[test]
fn a_disk_that_fills_up_during_training_leaves_no_checkpoint() {
    let folder = prepared();
    let args = ["train", "job.toml", "--dataset", "prepared", "--out", "run"];
    let outcome = folder.muster_on_full_disk(1, &args);
    assert_refused(&outcome, Refusal { code: 1, file: "", field: "", words: &["file too large"] });
    assert!(!has_manifest(&folder), "half a checkpoint looks whole");
}
