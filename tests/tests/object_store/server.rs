//! The S3 server of a test: `server.py` under a Python that has `moto`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use muster_tests::binary::{Outcome, run_command};
use muster_tests::folder::Folder;

/// A running server; it ends when this is dropped, as its standard input does.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    port: u16,
    bucket: String,
}

impl Server {
    /// Starts a server with one bucket; none, loudly, where `MUSTER_S3_PYTHON` names no Python that has `moto`.
    pub(crate) fn start(bucket: &str, fail_every: u32) -> Option<Self> {
        Self::start_with(bucket, fail_every, &[])
    }

    /// Starts one that has faults besides, as `server.py` names them.
    pub(crate) fn start_with(bucket: &str, fail_every: u32, faults: &[&str]) -> Option<Self> {
        let Some(python) = std::env::var_os("MUSTER_S3_PYTHON") else {
            assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "MUSTER_S3_PYTHON is not set");
            println!("skipped: MUSTER_S3_PYTHON names no Python with moto (pip install 'moto[s3,server]')");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/object_store/server.py");
        let mut command = Command::new(python);
        command.args([script, bucket, &fail_every.to_string()]).args(faults);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port =
            line.trim().parse().unwrap_or_else(|_| panic!("the S3 server did not start: it said {line:?}"));
        Some(Self { process, port, bucket: bucket.to_owned() })
    }

    /// Writes an object, again and again where the server fails.
    pub(crate) fn put(&self, key: &str, body: &[u8]) {
        for _ in 0..10 {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
            let path = format!("/{}/{key}", self.bucket);
            let length = body.len();
            // An object is written over only by somebody with a name.
            let head = format!(
                "PUT {path} HTTP/1.0\r\nhost: 127.0.0.1\r\nauthorization: AWS test:test\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            if answer.split(' ').nth(1) == Some("200") {
                return;
            }
        }
        panic!("{key} cannot be written");
    }

    /// Runs the program with this server as its object store.
    pub(crate) fn run(&self, folder: &Folder, args: &[&str]) -> Outcome {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        run_command(folder.command(args).envs(environment))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // A server that cannot be waited for has ended.
        let _ = self.process.wait();
    }
}
