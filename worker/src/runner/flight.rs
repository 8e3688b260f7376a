//! Writes down a rank's last collectives when its job stops before its end.

use std::fs;
use std::io;
use std::path::Path;

use muster_collective::Flight;
use muster_proto::fence::Fence;
use muster_proto::ids::Rank;
use serde_json::json;

/// The folder of a run directory in which they are.
const FOLDER: &str = "flight";

/// Files that are kept in a run directory; those of the oldest generations go.
const KEPT: usize = 64;

/// Writes `flight/generation-G-rank-R.json`: why the rank stopped, and its last collectives, oldest first.
///
/// # Errors
/// The folder or a file in it cannot be written.
pub(super) fn save(
    run_dir: &Path,
    fence: &Fence,
    rank: Rank,
    flights: &[Flight],
    error: &str,
) -> io::Result<()> {
    let folder = run_dir.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let collectives: Vec<_> = flights
        .iter()
        .map(|flight| {
            json!({
                "seq": flight.seq,
                "op": flight.op.to_string(),
                "dtype": flight.dtype.to_string(),
                "bytes": flight.bytes,
                "begun_seconds": flight.begun.as_secs_f64(),
                "ended_seconds": flight.ended.map(|ended| ended.as_secs_f64()),
            })
        })
        .collect();
    let text = json!({
        "job": fence.job.0,
        "generation": fence.generation.0,
        "incarnation": fence.incarnation.0,
        "rank": rank.0,
        "error": error,
        "collectives": collectives,
    });
    let name = format!("generation-{:06}-rank-{:04}.json", fence.generation.0, rank.0);
    let unfinished = folder.join(format!("{name}.{}.tmp", fence.incarnation.0));
    fs::write(&unfinished, format!("{text:#}\n"))?;
    fs::rename(&unfinished, folder.join(name))?;
    prune(&folder)
}

/// Removes the files of the oldest generations; another rank may do the same at the same time.
fn prune(folder: &Path) -> io::Result<()> {
    let files: io::Result<Vec<_>> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let mut files = files?;
    files.sort();
    let surplus = files.len().saturating_sub(KEPT);
    for file in &files[..surplus] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_collective::{Dtype, Op};
    use muster_proto::ids::{Generation, Incarnation, JobId};

    use super::*;

    #[test]
    fn the_newest_generations_are_kept_and_say_what_was_under_way() {
        let run = tempfile::tempdir().unwrap();
        let flight = Flight {
            seq: 7,
            op: Op::AllToAll,
            dtype: Dtype::F32,
            bytes: 12,
            begun: Duration::from_millis(1500),
            ended: None,
        };
        for generation in 1..=100 {
            let fence =
                Fence { job: JobId(1), generation: Generation(generation), incarnation: Incarnation(3) };
            save(run.path(), &fence, Rank(2), &[flight], "rank 1 is lost").unwrap();
        }
        let folder = run.path().join(FOLDER);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), KEPT);
        let text = fs::read_to_string(folder.join("generation-000100-rank-0002.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(record["error"], "rank 1 is lost");
        assert_eq!(
            record["collectives"][0],
            json!({
                "seq": 7, "op": "all_to_all", "dtype": "f32", "bytes": 12,
                "begun_seconds": 1.5, "ended_seconds": null,
            })
        );
    }
}
