//! A child process with its output as one text and a limit to its life.

use std::io::{self, Read};
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How a child ended.
pub(crate) struct Ended {
    /// `None` where it ran past its limit and was killed.
    pub(crate) status: Option<ExitStatus>,
    /// What it wrote to stdout and stderr, in order.
    pub(crate) output: String,
}

/// Runs a command to its end, or kills it after `limit`.
pub(crate) fn run(mut command: Command, limit: Duration) -> io::Result<Ended> {
    let (mut reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds the writing ends; without them the child's end is the pipe's end.
    drop(command);
    let (sender, receiver) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        // The receiver is gone where the time is up.
        let _ = sender.send(());
        read.map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
    let in_time = receiver.recv_timeout(limit).is_ok();
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    let output = reading.join().unwrap_or_else(|_| Ok(String::new()))?;
    Ok(Ended { status: in_time.then_some(status), output })
}
