//! Processes of a test: a running `muster`, its children, and waiting for what they do.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for something that should happen soon, on a machine under load.
pub const SOON: Duration = Duration::from_secs(120);

/// Waits until `condition` gives something.
///
/// # Panics
/// Where it does not within [`SOON`]; `what` says what was waited for.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {SOON:?} in vain for {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// A process that is killed when the test is through with it.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts a prepared command with its output in pipes.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        match command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
            Ok(child) => Self(child),
            Err(error) => panic!("cannot start {command:?}: {error}"),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end and gives exit code and standard output, which is short; a signal gives no code.
    ///
    /// # Panics
    /// Where it does not end within [`SOON`].
    pub fn end(mut self) -> (Option<i32>, String) {
        let status = wait_for("a process to end", || self.0.try_wait().transpose());
        let output = self.0.stdout.take().map(std::io::read_to_string);
        match (status, output) {
            (Ok(status), Some(Ok(output))) => (status.code(), output),
            other => panic!("cannot wait for a process: {other:?}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A process that has ended already cannot be killed, and need not.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The processes that `parent` started and that still run.
pub fn children_of(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).collect()
}

/// True while a process runs; one that has ended but was not waited for does not.
pub fn is_running(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn parent_of(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    status.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Sends a signal by its name, such as `KILL`.
///
/// # Panics
/// Where there is no such process.
pub fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(sent.as_ref().is_ok_and(std::process::ExitStatus::success), "cannot signal {process}: {sent:?}");
}
