//! Ranks as processes: a test's child starts its own executable once more for each rank.

use std::env;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::child::{self, Ended};
use crate::suite::test_name;

const RANK: &str = "MUSTER_DOUBLE_RANK";
const SHARED: &str = "MUSTER_DOUBLE_RANK_SHARED";

/// How long the ranks of a test may run.
const LIMIT: Duration = Duration::from_secs(120);

/// One rank, in its own process.
#[derive(Debug)]
pub struct Rank {
    /// Its number.
    pub rank: usize,
    /// How many there are.
    pub world_size: usize,
    /// What all ranks were told, such as a unique id in hexadecimal.
    pub shared: String,
}

/// How a rank's process ended.
#[derive(Debug)]
pub struct RankEnd {
    /// True where its body passed.
    pub passed: bool,
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// All it wrote.
    pub output: String,
}

/// Runs the body of a rank in `world_size` processes at once and gives how each ended.
///
/// To be called inside the body of [`Suite::everywhere`](crate::Suite::everywhere) or
/// [`Suite::outcomes`](crate::Suite::outcomes), whose mode the ranks inherit. `None` inside a rank, where the body has
/// run. `shared` is made once.
///
/// # Panics
/// A rank cannot be started, or runs longer than two minutes.
pub fn in_processes<F: FnOnce(Rank)>(
    world_size: usize,
    shared: impl FnOnce() -> String,
    body: F,
) -> Option<Vec<RankEnd>> {
    if let Some(rank) = env::var(RANK).ok().and_then(|rank| rank.parse().ok()) {
        body(Rank { rank, world_size, shared: env::var(SHARED).unwrap_or_default() });
        return None;
    }
    let test = test_name::<F>();
    let shared = shared();
    let start = |rank: usize| {
        let mut command = Command::new(env::current_exe()?);
        command.args([&test, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(RANK, rank.to_string()).env(SHARED, &shared);
        child::run(command, LIMIT)
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let start = &start;
        let running: Vec<_> = (0..world_size).map(|rank| scope.spawn(move || start(rank))).collect();
        running.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let judge = |(rank, ended): (usize, thread::Result<std::io::Result<Ended>>)| match ended {
        Ok(Ok(Ended { status: Some(status), output })) => {
            RankEnd { passed: status.success(), code: status.code(), output }
        }
        Ok(Ok(Ended { status: None, output })) => panic!("rank {rank} ran too long\n{output}"),
        Ok(Err(error)) => panic!("rank {rank}: {error}"),
        Err(_) => panic!("rank {rank} could not be waited for"),
    };
    Some(ended.into_iter().enumerate().map(judge).collect())
}
