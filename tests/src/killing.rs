//! Kills of `muster collect` under load: what was answered must be in the files, once.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::collecting::{Collecting, event, finished, ids};
use crate::process::wait_for;

/// Events of a request.
const BATCH: u64 = 20;
/// Clients that send at a time.
const CLIENTS: u64 = 3;

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Survived {
    /// Processes that were killed.
    pub kills: u64,
    /// Events that were answered for.
    pub acknowledged: usize,
    /// Events in the files.
    pub written: usize,
    /// Finished files.
    pub files: usize,
}

/// A client: what it sent and was answered for, and what it has to send again.
#[derive(Debug, Default)]
struct Client {
    number: u64,
    next: u64,
    /// First event of a batch that was sent and not answered for.
    open: Option<u64>,
    acknowledged: HashSet<String>,
}

impl Client {
    fn id(&self, event: u64) -> String {
        format!("{}-{event}", self.number)
    }

    /// Sends batches until the process is gone.
    fn run(&mut self, address: &str, answered: &AtomicU64) {
        let Ok(mut http) = crate::collecting::Http::connect(address) else { return };
        loop {
            let first = *self.open.get_or_insert(self.next);
            let batch: String = (first..first + BATCH)
                .map(|number| event(&self.id(number), number % 50, number % 97))
                .collect();
            match http.lines(&batch) {
                Ok(answer) if answer.status == 200 => {
                    let json = answer.json();
                    let counts = json["accepted"].as_u64().zip(json["duplicates"].as_u64());
                    assert_eq!(counts.map(|(new, old)| new + old), Some(BATCH), "{answer:?}");
                    let taken: Vec<String> = (first..first + BATCH).map(|number| self.id(number)).collect();
                    self.acknowledged.extend(taken);
                    self.next = first + BATCH;
                    self.open = None;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                // The answer may have been on its way: the batch is sent again, to the next process.
                _ => return,
            }
        }
    }
}

/// Kills `program` so many times in the midst of requests, and holds its files against what was answered.
///
/// # Panics
/// Where an event that was answered for is missing, or any is there twice.
pub fn survive(program: &str, dir: &Path, kills: u64, sets: &[&str]) -> Survived {
    let mut clients: Vec<Client> =
        (0..CLIENTS).map(|number| Client { number, ..Client::default() }).collect();
    for kill in 0..kills {
        let collecting = Collecting::start(&mut Command::new(program), dir, sets);
        let address = collecting.address.clone();
        let answered = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| client.run(&address, &answered));
            }
            // Some die early, some later; no two after the same number of answers in a row.
            let wanted = 1 + kill * 7 % 23;
            wait_for("answers", || (answered.load(Ordering::Relaxed) >= wanted).then_some(()));
            collecting.kill();
        });
    }
    let last = Collecting::start(&mut Command::new(program), dir, sets);
    let (code, _) = last.end();
    assert_eq!(code, Some(0), "the last process ends by itself");
    let found = ids(dir);
    let twice: Vec<&String> = found.iter().filter(|(_, times)| **times > 1).map(|(id, _)| id).collect();
    assert!(twice.is_empty(), "{} events are there more than once, such as {:?}", twice.len(), twice.first());
    let mut acknowledged = 0;
    for client in &clients {
        let missing: Vec<&String> =
            client.acknowledged.iter().filter(|id| !found.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{} events are missing, such as {:?}", missing.len(), missing.first());
        acknowledged += client.acknowledged.len();
    }
    Survived { kills, acknowledged, written: found.len(), files: finished(dir).len() }
}
