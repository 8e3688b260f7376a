//! A `muster collect` of a test's own, and what is asked of it: events in over HTTP, kills, files read back.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::process::{SOON, signal, wait_for};

/// A schema with an id, a user, an item, a time and an event type.
pub const SPEC: &str = r#"
name = "shop"
event_id = "id"

[[fields]]
name = "id"
kind = "text"
required = true

[[fields]]
name = "user"
kind = "text"
required = true

[[fields]]
name = "item"
kind = "integer"
required = true
min = 0

[[fields]]
name = "time"
kind = "integer"
required = true

[[fields]]
name = "event"
kind = "text"
values = ["view", "cart", "buy"]
"#;

/// An event of [`SPEC`], as a line.
pub fn event(id: &str, user: u64, item: u64) -> String {
    let time = 1_700_000_000 + item;
    format!("{{\"id\":\"{id}\",\"user\":\"u{user}\",\"item\":{item},\"time\":{time},\"event\":\"view\"}}\n")
}

/// A running `muster collect`; it is killed when this is dropped.
#[derive(Debug)]
pub struct Collecting {
    process: Child,
    /// `HOST:PORT` that it listens on.
    pub address: String,
    output: BufReader<std::process::ChildStdout>,
}

impl Collecting {
    /// Starts `program` (or what stands before it, such as a shell with a limit) with the file [`SPEC`] in `dir`, collecting
    /// into `dir/events`, and waits until it listens.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn start(command: &mut Command, dir: &Path, sets: &[&str]) -> Self {
        Self::start_with(SPEC, command, dir, sets)
    }

    /// The same with another file.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn start_with(spec: &str, command: &mut Command, dir: &Path, sets: &[&str]) -> Self {
        let wrote = fs::write(dir.join("collect.toml"), spec);
        assert!(wrote.is_ok(), "cannot write into {}: {wrote:?}", dir.display());
        command.current_dir(dir).args([
            "collect",
            "collect.toml",
            "--out",
            "events",
            "--listen",
            "127.0.0.1:0",
        ]);
        for set in sets {
            command.args(["--set", set]);
        }
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let Ok(mut process) = started else { panic!("cannot start {command:?}") };
        let Some(output) = process.stdout.take() else { panic!("{command:?} has no output") };
        let (mut output, mut line) = (BufReader::new(output), String::new());
        let read = output.read_line(&mut line);
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
        let Some(address) = address else { panic!("it did not come up: it said {line:?}, {read:?}") };
        Self { process, address: address.to_owned(), output }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A connection to it.
    ///
    /// # Errors
    /// It does not listen any more.
    pub fn http(&self) -> io::Result<Http> {
        Http::connect(&self.address)
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(mut self) {
        // One that has ended already cannot be killed, and need not.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Asks it to end, waits for that, and gives what it said.
    ///
    /// # Panics
    /// Where it does not end in time.
    pub fn end(mut self) -> (Option<i32>, String) {
        signal("TERM", self.id());
        let status = wait_for("the process to end", || self.process.try_wait().transpose());
        let mut text = String::new();
        match (status, self.output.read_to_string(&mut text)) {
            (Ok(status), Ok(_)) => (status.code(), text),
            other => panic!("cannot wait for the process: {other:?}"),
        }
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection that is kept over requests.
#[derive(Debug)]
pub struct Http {
    stream: BufReader<TcpStream>,
    host: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("no JSON ({error}): {self:?}"),
        }
    }
}

impl Http {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream), host: address.to_owned() })
    }

    /// Sends lines of JSON, or with another `kind` anything else, to `/v1/events`.
    ///
    /// # Errors
    /// The connection broke.
    pub fn post(&mut self, kind: &str, body: &str) -> io::Result<Answer> {
        self.begin("/v1/events", kind, body.len())?;
        self.rest(body)?;
        self.answer()
    }

    /// Sends lines of JSON.
    ///
    /// # Errors
    /// The connection broke.
    pub fn lines(&mut self, body: &str) -> io::Result<Answer> {
        self.post("application/x-ndjson", body)
    }

    /// Sends the head of a request whose body follows.
    ///
    /// # Errors
    /// The connection broke.
    pub fn begin(&mut self, path: &str, kind: &str, length: usize) -> io::Result<()> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n",
            self.host
        );
        self.stream.get_mut().write_all(head.as_bytes())
    }

    /// Sends a part of a body.
    ///
    /// # Errors
    /// The connection broke.
    pub fn rest(&mut self, body: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(body.as_bytes())
    }

    /// Asks for a page.
    ///
    /// # Errors
    /// The connection broke.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.host);
        self.stream.get_mut().write_all(head.as_bytes())?;
        self.answer()
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// The connection broke, or what comes is no answer.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no answer: {line:?}")))?;
        let mut headers = HashMap::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
                None => break,
            };
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// The finished files below `dir/events`, in order.
///
/// # Panics
/// Where the folder cannot be read.
pub fn finished(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir.join("events")) else { panic!("no folder of events") };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('_')));
    files.sort();
    files
}

/// How often each id is in the finished files.
///
/// # Panics
/// Where a file cannot be read, or has a line that is no event.
pub fn ids(dir: &Path) -> HashMap<String, u32> {
    let mut ids = HashMap::new();
    for path in finished(dir) {
        let bytes = fs::read(&path).and_then(|bytes| {
            if path.extension().is_some_and(|ending| ending == "zst") {
                zstd::decode_all(bytes.as_slice())
            } else {
                Ok(bytes)
            }
        });
        let Ok(bytes) = bytes else { panic!("{} cannot be read: {bytes:?}", path.display()) };
        for line in String::from_utf8_lossy(&bytes).lines() {
            let event: Result<Value, _> = serde_json::from_str(line);
            let id = event.as_ref().ok().and_then(|event| event["id"].as_str());
            let Some(id) = id else { panic!("{}: {line:?}", path.display()) };
            *ids.entry(id.to_owned()).or_default() += 1;
        }
    }
    ids
}
