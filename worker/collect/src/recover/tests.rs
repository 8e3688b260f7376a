//! What is found in a folder after the process before was killed.

use super::*;

fn line(id: &str) -> String {
    format!("{{\"user\":\"u\",\"id\":\"{id}\"}}\n")
}

fn hash(id: &str) -> u128 {
    hash_of(&crate::event::Scalar::Text(id.to_owned())).unwrap()
}

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn folder(&self) -> Folder {
        Folder::new(self.dir.path(), "shop")
    }

    fn write(&self, number: u64, state: State, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().path(&self.folder().stem(number, 0), state, false);
        fs::write(&path, content).unwrap();
        path
    }

    fn recover(&self, limit: usize) -> Result<Recovered, Error> {
        recover(self.folder(), "id", limit)
    }
}

#[test]
fn a_torn_end_is_cut_and_what_is_whole_is_kept_and_known() {
    let scene = Scene::new();
    let open = scene.write(3, State::Open, format!("{}{}{{\"id\":\"c\"", line("a"), line("b")));
    scene.write(4, State::Open, "{\"id\":");
    let recovered = scene.recover(10).unwrap();
    assert_eq!(recovered.next, 5);
    assert_eq!(["a", "b", "c"].map(|id| recovered.ids.contains(hash(id))), [true, true, false]);
    assert!(!open.exists());
    let left = scene.folder().entries().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read_to_string(&left[0].path).unwrap(), format!("{}{}", line("a"), line("b")));
}

#[test]
fn zeros_after_a_power_cut_are_a_torn_end() {
    let scene = Scene::new();
    scene.write(1, State::Open, [line("a").as_bytes(), &[0; 4096]].concat());
    assert!(scene.recover(10).unwrap().ids.contains(hash("a")));
}

#[test]
fn damage_before_whole_events_is_an_error_and_nothing_is_touched() {
    let scene = Scene::new();
    let content = format!("{}garbage\n{}", line("a"), line("b"));
    let path = scene.write(1, State::Open, &content);
    let error = scene.recover(10).unwrap_err().to_string();
    assert!(error.contains("bytes 22 to 30 are no event"), "{error}");
    assert_eq!(fs::read_to_string(path).unwrap(), content);
}

#[test]
fn the_latest_ids_of_files_are_known_the_oldest_are_not() {
    let scene = Scene::new();
    scene.write(1, State::Finished, line("a"));
    let compressed = zstd::encode_all(format!("{}{}", line("b"), line("c")).as_bytes(), 3).unwrap();
    let path = scene.folder().path(&scene.folder().stem(2, 0), State::Finished, true);
    fs::write(path, compressed).unwrap();
    scene.write(3, State::Sealed, line("d"));
    let ids = scene.recover(2).unwrap().ids;
    assert_eq!(["a", "b", "c", "d"].map(|id| ids.contains(hash(id))), [false, false, true, true]);
}

#[test]
fn a_folder_that_another_process_collects_into_is_refused() {
    let scene = Scene::new();
    let first = scene.recover(10).unwrap();
    let error = scene.recover(10).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    drop(first);
    scene.recover(10).unwrap();
}
