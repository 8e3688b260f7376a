//! The writer against a disk that fails, and a reader that looks at any time.

use muster_proto::collect::Compression;
use muster_proto::units::ByteSize;

use super::*;
use crate::queue::Queue;
use crate::recover::recover;
use crate::schema::Checked;

fn event(id: u128) -> Checked {
    let line = format!("{{\"id\":\"{id}\"}}\n").into_bytes();
    Checked { id: crate::schema::hash_of(&crate::event::Scalar::Text(id.to_string())).unwrap(), line }
}

/// A writer into a folder, run on this thread for what was queued.
struct Bench {
    dir: tempfile::TempDir,
    files: FilesSpec,
}

impl Bench {
    fn new(max_size: u64, compression: Compression) -> Self {
        let files =
            FilesSpec { max_size: ByteSize::from_bytes(max_size), compression, ..FilesSpec::default() };
        Self { dir: tempfile::tempdir().unwrap(), files }
    }

    /// Runs a life of the writer over requests; gives what each was answered.
    fn run(&self, requests: &[Vec<Checked>]) -> Vec<Result<Kept, Refused>> {
        let folder = Folder::new(self.dir.path(), "shop");
        let metrics = Arc::new(Metrics::default());
        let (queue, messages) = Queue::new(1 << 20, Arc::clone(&metrics));
        let recovered = recover(folder.clone(), "id", 100).unwrap();
        let finisher = Finisher::start(folder, self.files.compression, Arc::clone(&metrics)).unwrap();
        let writer = Writer::new(recovered, self.files.clone(), finisher, metrics);
        let pending: Vec<_> = requests
            .iter()
            .map(|events| queue.submit(queue.try_room(1).unwrap(), events.clone()).unwrap())
            .collect();
        queue.stop();
        writer.run(&messages);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        pending.into_iter().map(|pending| runtime.block_on(pending.kept())).collect()
    }

    /// The names and the lines of finished files.
    fn finished(&self) -> (Vec<String>, Vec<String>) {
        let entries = Folder::new(self.dir.path(), "shop").entries().unwrap();
        let (mut names, mut lines) = (Vec::new(), Vec::new());
        for entry in entries {
            assert_eq!(entry.state, State::Finished, "{}", entry.path.display());
            let bytes = fs::read(&entry.path).unwrap();
            let is_compressed = entry.path.extension().unwrap() == "zst";
            let text = if is_compressed { zstd::decode_all(bytes.as_slice()).unwrap() } else { bytes };
            lines.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
            names.push(entry.path.file_name().unwrap().to_string_lossy().into_owned());
        }
        (names, lines)
    }
}

fn kept(accepted: u64, duplicates: u64) -> Result<Kept, Refused> {
    Ok(Kept { accepted, duplicates })
}

#[test]
fn each_event_is_in_the_files_once_over_requests_and_lives() {
    let bench = Bench::new(1 << 20, Compression::Zstd);
    let answers = bench.run(&[vec![event(1), event(2), event(1)], vec![event(2), event(3)]]);
    assert_eq!(answers, [kept(2, 1), kept(1, 1)]);
    let answers = bench.run(&[vec![event(3), event(4)], vec![event(1)]]);
    assert_eq!(answers, [kept(1, 1), kept(0, 1)]);
    let (names, lines) = bench.finished();
    assert_eq!(lines, ["{\"id\":\"1\"}", "{\"id\":\"2\"}", "{\"id\":\"3\"}", "{\"id\":\"4\"}"]);
    assert!(names.len() == 2 && names.iter().all(|name| name.ends_with(".jsonl.zst")), "{names:?}");
}

#[test]
fn a_life_without_events_leaves_no_file() {
    let bench = Bench::new(1 << 20, Compression::None);
    bench.run(&[]);
    assert_eq!(bench.finished(), (vec![], vec![]));
}

#[test]
fn a_file_is_finished_when_it_has_its_size() {
    let bench = Bench::new(1024, Compression::None);
    // Over the bytes of a flush, so that the requests are written one by one.
    let large = |id: u128| {
        let mut event = event(id);
        event.line = format!("{{\"id\":\"{id}\",\"x\":\"{}\"}}\n", "x".repeat(GROUP_BYTES)).into_bytes();
        vec![event]
    };
    bench.run(&[large(1), large(2), large(3)]);
    let (names, lines) = bench.finished();
    assert_eq!((names.len(), lines.len()), (3, 3));
}

#[test]
fn what_cannot_be_written_is_not_taken_and_leaves_no_trace() {
    let bench = Bench::new(1 << 20, Compression::None);
    bench.run(&[vec![event(1)]]);
    let folder = Folder::new(bench.dir.path(), "shop");
    let metrics = Arc::new(Metrics::default());
    let recovered = recover(folder.clone(), "id", 100).unwrap();
    let finisher = Finisher::start(folder, Compression::None, Arc::clone(&metrics)).unwrap();
    let mut writer = Writer::new(recovered, bench.files.clone(), finisher, metrics);
    writer.open = Some(writer.begin().unwrap());
    writer.lines = b"{\"id\":\"2\"}\n".to_vec();
    writer.write().unwrap();
    // A handle that cannot be written stands for a disk that is full: the file must not change.
    let open = writer.open.as_mut().unwrap();
    let path = open.path.clone();
    let good = std::mem::replace(&mut open.file, File::open(&path).unwrap());
    writer.lines = b"{\"id\":\"3\"}\n".to_vec();
    assert!(writer.write().is_err());
    assert!(writer.open.as_ref().unwrap().is_torn);
    // Something of it did reach the file.
    (&good).write_all(b"{\"id\":").unwrap();
    writer.open.as_mut().unwrap().file = good;
    writer.write().unwrap();
    writer.seal();
    writer.finisher.stop();
    let (_, lines) = bench.finished();
    assert_eq!(lines, ["{\"id\":\"1\"}", "{\"id\":\"2\"}", "{\"id\":\"3\"}"]);
}
