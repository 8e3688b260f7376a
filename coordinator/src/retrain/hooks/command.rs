//! A program that puts a model into service.

use std::collections::BTreeMap;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use muster_core::retrain::machine::{HookCall, HookStage};
use muster_proto::hooks::HookSpec;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::debug;

use super::{HookError, KEPT, json_of, text_of};

/// How long what a program wrote is read on when it has ended; what it left running may hold the other end for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program with its arguments.
#[derive(Debug, Clone)]
pub(super) struct Program {
    words: Vec<String>,
    environment: BTreeMap<String, String>,
}

/// A program's process group, which ends when this is dropped before the program was seen to end.
struct Group {
    id: Option<Pid>,
}

impl Group {
    /// All of them at once, so that none can start another one.
    fn kill(&mut self) {
        let Some(id) = self.id.take() else { return };
        match kill_process_group(id, Signal::KILL) {
            // It has ended by itself.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => debug!(%error, "a hook's processes could not be ended"),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last bytes of what was written.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let over = self.0.len().saturating_sub(KEPT);
        self.0.drain(..over);
    }
}

impl Program {
    pub(super) fn new(spec: &HookSpec) -> Self {
        Self { words: spec.command.clone(), environment: spec.environment.clone() }
    }

    /// Runs the program to its end, and ends it with all that it started when the deadline is over, or when nobody waits for it any
    /// more.
    pub(super) async fn call(
        &self,
        hook: &str,
        call: &HookCall,
        deadline: Duration,
    ) -> Result<(), HookError> {
        let cannot_start =
            |source| HookError::Start { hook: hook.to_owned(), program: self.words.join(" "), source };
        let (mut child, output) = self.start(call).map_err(cannot_start)?;
        let mut group = Group { id: child.id().and_then(|id| Pid::from_raw(id as i32)) };
        let mut output = pipe::Receiver::from_owned_fd(OwnedFd::from(output)).map_err(cannot_start)?;
        let mut tail = Tail::default();
        let ended = timeout(deadline, run(&mut child, json_of(call), &mut output, &mut tail)).await;
        let Ok(ended) = ended else {
            group.kill();
            // Its end is near; it must not stay as a zombie.
            let _ = timeout(LAST_WORDS, child.wait()).await;
            return Err(HookError::Deadline { hook: hook.to_owned(), deadline, output: text_of(&tail.0) });
        };
        let status = ended.map_err(|source| HookError::Wait { hook: hook.to_owned(), source })?;
        // What it started and left running is meant to: a server, for instance.
        group.id = None;
        let _ = timeout(LAST_WORDS, read(&mut output, &mut tail)).await;
        let output = text_of(&tail.0);
        if status.success() {
            debug!(hook, output, "a hook is done");
            return Ok(());
        }
        Err(HookError::Failed { hook: hook.to_owned(), status, output })
    }

    fn start(&self, call: &HookCall) -> io::Result<(Child, PipeReader)> {
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "no program is named");
        let (program, arguments) = self.words.split_first().ok_or_else(missing)?;
        // One pipe for both, so that lines stand in the order in which they were written.
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
            .envs(facts(call))
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        Ok((command.spawn()?, reader))
    }
}

/// The call as variables, for scripts that read no JSON.
fn facts(call: &HookCall) -> [(&'static str, String); 8] {
    let stage = match call.stage {
        HookStage::Promote => "promote",
        HookStage::RollBack => "roll_back",
    };
    [
        ("MUSTER_HOOK_STAGE", stage.to_owned()),
        ("MUSTER_HOOK_MODEL", call.model.clone()),
        ("MUSTER_HOOK_VERSION", call.version.to_string()),
        ("MUSTER_HOOK_CHECKPOINT", call.checkpoint.clone()),
        ("MUSTER_HOOK_DATASET", call.dataset.clone()),
        ("MUSTER_HOOK_MODEL_DIGEST", call.model_digest.clone()),
        ("MUSTER_HOOK_RUN", call.run.clone().unwrap_or_default()),
        ("MUSTER_HOOK_IDEMPOTENCY", call.idempotency.clone()),
    ]
}

/// Tells the program what it is about and hears it until it ends.
async fn run(
    child: &mut Child,
    input: Vec<u8>,
    output: &mut pipe::Receiver,
    tail: &mut Tail,
) -> io::Result<ExitStatus> {
    let stdin = child.stdin.take();
    let tell = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read it knows enough.
            let _ = stdin.write_all(&input).await;
        }
    };
    let mut talk = pin!(async { tokio::join!(tell, read(output, tail)) });
    let mut is_silent = false;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            // It may close its output long before it ends.
            _ = &mut talk, if !is_silent => is_silent = true,
        }
    }
}

async fn read(output: &mut pipe::Receiver, tail: &mut Tail) {
    let mut chunk = [0; KEPT];
    while let Ok(length @ 1..) = output.read(&mut chunk).await {
        tail.push(&chunk[..length]);
    }
}
