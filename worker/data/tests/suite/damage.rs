//! A dataset that is damaged, or is not the one its manifest describes, is refused by name.

use muster_data::Dataset;
use muster_proto::dataset::DatasetManifest;

use crate::fixture::{CSV, Folder};

fn prepared() -> (Folder, DatasetManifest) {
    let rows: String = (0..40).map(|row| format!("u{},i{},{row}\n", row % 8, row % 5)).collect();
    let folder = Folder::with("log.csv", format!("user,item,time\n{rows}"));
    let manifest = folder.prepare(CSV).unwrap();
    (folder, manifest)
}

fn load_all(dataset: &Dataset) -> Result<(), String> {
    (0..dataset.manifest().partitions.len() as u32)
        .try_for_each(|index| dataset.load(index).map(drop).map_err(|error| error.to_string()))
}

/// Loads all partitions after one file was changed.
fn after(change: impl FnOnce(&std::path::Path)) -> String {
    let (folder, manifest) = prepared();
    change(&folder.out().join(&manifest.partitions[1].file));
    load_all(&folder.open()).unwrap_err()
}

#[test]
fn a_sound_dataset_loads() {
    let (folder, manifest) = prepared();
    load_all(&folder.open()).unwrap();
    assert_eq!(*folder.open().manifest(), manifest);
}

#[test]
fn a_partition_that_is_missing_is_named() {
    let error = after(|path| std::fs::remove_file(path).unwrap());
    assert!(error.contains("partition-00001.arrow is missing"), "{error}");
}

#[test]
fn one_flipped_bit_is_found() {
    let error = after(|path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    });
    assert!(error.contains("partition-00001.arrow is damaged"), "{error}");
}

#[test]
fn a_truncated_partition_is_found() {
    let error = after(|path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 8]).unwrap();
    });
    assert!(error.contains("is damaged"), "{error}");
}

#[test]
fn an_edited_manifest_is_refused() {
    let (folder, _) = prepared();
    let path = folder.out().join(DatasetManifest::FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"name\": \"log\"", "\"name\": \"other\"")).unwrap();
    let error = Dataset::open(&folder.out()).unwrap_err().to_string();
    assert!(error.contains("manifest.json: was changed after it was written"), "{error}");
}

/// Opens a dataset whose manifest was rewritten, with a digest that fits.
fn resealed(change: impl FnOnce(&mut DatasetManifest)) -> (Folder, Dataset) {
    let (folder, mut manifest) = prepared();
    change(&mut manifest);
    manifest.seal().unwrap();
    std::fs::write(folder.out().join(DatasetManifest::FILE), manifest.to_json().unwrap()).unwrap();
    let dataset = folder.open();
    (folder, dataset)
}

#[test]
fn ids_beyond_the_vocabulary_do_not_reach_the_kernels() {
    let (_folder, dataset) = resealed(|manifest| manifest.items = 2);
    let error = load_all(&dataset).unwrap_err();
    assert!(error.contains("does not hold what the manifest says: id "), "{error}");
}

#[test]
fn a_file_name_that_leaves_the_folder_is_refused() {
    let (_folder, dataset) = resealed(|manifest| manifest.partitions[0].file = "../log.csv".into());
    let error = load_all(&dataset).unwrap_err();
    assert!(error.contains("file name `../log.csv`"), "{error}");
}

#[test]
fn a_swapped_partition_file_is_found() {
    let (_folder, dataset) = resealed(|manifest| {
        let most = manifest.partitions.iter().max_by_key(|partition| partition.events).unwrap().file.clone();
        let least = manifest.partitions.iter_mut().min_by_key(|partition| partition.events).unwrap();
        least.file = most;
    });
    assert!(load_all(&dataset).unwrap_err().contains("is damaged"));
}

#[test]
fn a_partition_or_column_that_does_not_exist_is_named() {
    let (folder, _) = prepared();
    let dataset = folder.open();
    assert_eq!(dataset.load(4).unwrap_err().to_string(), "there is no log partition 4, the dataset has 4");
    let error = dataset.load_vocabulary("brand").unwrap_err().to_string();
    assert!(error.contains("no categorical column `brand`"), "{error}");
}

#[test]
fn what_a_killed_preparation_left_goes_with_the_next_and_others_are_left_alone() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n1,b,2\n");
    let make = |name: &str| {
        let dir = folder.path().join(name);
        std::fs::create_dir_all(dir.join("work")).unwrap();
        (dir.clone(), std::fs::File::create(dir.join("lock")).unwrap())
    };
    let (killed, _) = make(".preparing-out-killed");
    let (at_work, lock) = make(".preparing-out-atwork");
    lock.lock().unwrap();
    let (of_another, _) = make(".preparing-out-er-killed");
    folder.prepare(CSV).unwrap();
    assert!(!killed.exists() && at_work.exists() && of_another.exists());
    // Killed between the two renames: what was there comes back, also where the next one fails.
    let before = std::fs::read(folder.out().join("manifest.json")).unwrap();
    let (killed, _) = make(".preparing-out-killed");
    std::fs::rename(folder.out(), killed.join("replaced")).unwrap();
    folder.write("bad.csv", "user,item,time\n1,a,soon\n");
    folder.prepare(&CSV.replace("log.csv", "bad.csv")).unwrap_err();
    assert_eq!(std::fs::read(folder.out().join("manifest.json")).unwrap(), before);
    assert!(!killed.exists());
}
