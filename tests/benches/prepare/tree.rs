//! The peak memory of a process and all that it started, by looking at `/proc` every few milliseconds.

use std::collections::HashMap;
use std::process::{Child, Output};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Time between two looks: short beside how long a phase of a program takes.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits for the end of a process; gives its output, and the most bytes that its tree had resident at a time.
pub(crate) fn watch(mut child: Child) -> std::io::Result<(Output, u64)> {
    let readers = (child.stdout.take(), child.stderr.take());
    // Nothing is sent: the sender is gone when the process has closed its output.
    let (open, is_open) = channel::<()>();
    let stdout = thread::spawn(move || {
        let bytes = read(readers.0);
        drop(open);
        bytes
    });
    let stderr = thread::spawn(move || read(readers.1));
    let mut peak = resident(child.id());
    while is_open.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        peak = peak.max(resident(child.id()));
    }
    let status = child.wait()?;
    let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().unwrap_or_default());
    Ok((Output { status, stdout, stderr }, peak))
}

/// Seconds of processor time that all children took that have ended: what a busy machine changes least.
pub(crate) fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold spaces; cutime and cstime are the 14th and 15th fields after it (proc(5)).
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).into_iter().flatten();
    let ticks: u64 = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn read(pipe: Option<impl std::io::Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

/// Resident bytes of a process and its descendants; of one process its own peak so far.
fn resident(root: u32) -> u64 {
    let mut parents: HashMap<u32, u32> = HashMap::new();
    let mut sizes: HashMap<u32, u64> = HashMap::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let field = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
        };
        parents.insert(pid, field("PPid:").unwrap_or_default() as u32);
        let size = if pid == root { "VmHWM:" } else { "VmRSS:" };
        sizes.insert(pid, field(size).unwrap_or_default() << 10);
    }
    let is_below = |mut pid: u32| {
        while pid != root {
            match parents.get(&pid) {
                Some(parent) if *parent != 0 => pid = *parent,
                _ => return false,
            }
        }
        true
    };
    sizes.iter().filter(|(pid, _)| is_below(**pid)).map(|(_, size)| size).sum()
}
