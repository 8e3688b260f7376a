//! The runtime on which requests run.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};

use tokio::runtime::{Builder, Runtime};

/// A request under way.
#[derive(Debug)]
pub(crate) struct Started<T>(Receiver<T>);

impl<T> Started<T> {
    /// Waits for its end; the request's own deadlines bound the wait.
    pub(crate) fn wait(self) -> io::Result<T> {
        self.0.recv().map_err(|_| io::Error::other("a request to the object store ended without a result"))
    }
}

/// Starts a request, from any thread.
pub(crate) fn start<T: Send + 'static>(
    request: impl Future<Output = T> + Send + 'static,
) -> io::Result<Started<T>> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("object-store").enable_all().build().map_err(|e| e.to_string())
    });
    let runtime = runtime.as_ref().map_err(|problem| io::Error::other(problem.clone()))?;
    let (done, result) = sync_channel(1);
    runtime.spawn(async move {
        // Who does not wait any more does not want it.
        let _ = done.send(request.await);
    });
    Ok(Started(result))
}

/// Runs a request to its end.
pub(crate) fn wait<T: Send + 'static>(request: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    start(request)?.wait()
}
