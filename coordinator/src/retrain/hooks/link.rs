//! A symbolic link to the model that is in service.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_core::retrain::machine::HookCall;
use muster_proto::hooks::HookSpec;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::HookError;

/// Where the link is.
#[derive(Debug, Clone)]
pub(super) struct Link {
    path: PathBuf,
    /// One that hangs beyond its deadline is not overtaken by the next, so that the last call has the last word.
    turn: Arc<Mutex<()>>,
}

impl Link {
    pub(super) fn new(spec: &HookSpec) -> Self {
        Self { path: spec.path.clone().unwrap_or_default(), turn: Arc::default() }
    }

    /// Sets the link to the model's checkpoint.
    pub(super) async fn call(
        &self,
        hook: &str,
        call: &HookCall,
        deadline: Duration,
    ) -> Result<(), HookError> {
        let target = PathBuf::from(&call.checkpoint);
        let refused = |problem: &str| HookError::Target {
            hook: hook.to_owned(),
            checkpoint: call.checkpoint.clone(),
            problem: problem.to_owned(),
        };
        if call.checkpoint.contains("://") {
            return Err(refused(
                "it is not in a folder; take a command or a webhook for models of object stores",
            ));
        }
        if !target.is_absolute() {
            return Err(refused("it is not an absolute path"));
        }
        // The file system may be one of a network that hangs.
        let path = self.path.clone();
        let turn = Arc::clone(&self.turn);
        let set = async {
            let turn = turn.lock_owned().await;
            let set = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                set(&path, &target)
            });
            set.await
        };
        let (hook, path) = (hook.to_owned(), self.path.clone());
        match timeout(deadline, set).await {
            Err(_) => Err(HookError::Deadline { hook, deadline, output: String::new() }),
            Ok(Err(error)) => Err(HookError::Link { hook, path, source: io::Error::other(error) }),
            Ok(Ok(Err(Problem::NoTarget))) => Err(refused("there is no such folder")),
            Ok(Ok(Err(Problem::Io(source)))) => Err(HookError::Link { hook, path, source }),
            Ok(Ok(Ok(()))) => Ok(()),
        }
    }
}

enum Problem {
    NoTarget,
    Io(io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Makes a link under another name and puts it in the place of the one of before, which is one step for all who look.
fn set(path: &Path, target: &Path) -> Result<(), Problem> {
    if !target.is_dir() {
        return Err(Problem::NoTarget);
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_symlink() => {
            let message = "something else than a link is there; move it away, it is not replaced";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message).into());
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    // Left by a call that was cut off.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    symlink(target, &beside)?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(File::open(folder)?.sync_all()?)
}
