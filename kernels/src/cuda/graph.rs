//! Recording a sequence of launches once and replaying it as one graph.

use std::sync::Arc;

use cudarc::driver::CudaGraph;
use cudarc::driver::sys::{CUgraphInstantiate_flags_enum as Flags, CUstreamCaptureMode as Mode};

use super::Error;
use super::device::Device;
use super::memory::{Block, Pool};

/// Recorded launches with everything that they use: `owned` holds the buffers, and temporaries of the recording stay
/// with the graph.
pub struct Graph<K> {
    // Dropped before the memory that it uses.
    graph: Option<CudaGraph>,
    owned: K,
    blocks: Vec<Block>,
    pool: Arc<Pool>,
}

impl<K> Graph<K> {
    /// Records what `record` launches, without running it.
    ///
    /// Every buffer that the launches use has to be in `owned`, or be a temporary of `record`. Memory comes from the
    /// pool's cache only, so the same launches have to have run before. Copies from the host are recorded with the
    /// address that they had; give inputs through buffers of `owned` that are written before each replay.
    ///
    /// # Errors
    /// What `record` returns, [`Error::ColdCapture`] among it; else the driver's.
    pub fn record(
        device: &Device,
        mut owned: K,
        record: impl FnOnce(&Device, &mut K) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let stream = &device.streams().compute;
        device.pool().begin_capture();
        let begun = stream.begin_capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
        let result = match begun.map_err(Error::driver("begin to record a graph")) {
            Ok(()) => {
                let recorded = record(device, &mut owned);
                let ended = stream.end_capture(Flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH);
                recorded.and(ended.map_err(Error::driver("finish recording a graph")))
            }
            Err(error) => Err(error),
        };
        let blocks = device.pool().end_capture();
        let pool = Arc::clone(device.pool());
        match result {
            Ok(graph) => Ok(Self { graph, owned, blocks, pool }),
            Err(error) => {
                pool.give_back_captured(blocks);
                Err(error)
            }
        }
    }

    /// Launches everything that was recorded; a recording without launches does nothing.
    ///
    /// # Errors
    /// The driver's.
    pub fn replay(&self) -> Result<(), Error> {
        match &self.graph {
            Some(graph) => graph.launch().map_err(Error::driver("launch a graph")),
            None => Ok(()),
        }
    }

    /// Returns what the graph owns.
    pub fn owned(&mut self) -> &mut K {
        &mut self.owned
    }
}

impl<K: std::fmt::Debug> std::fmt::Debug for Graph<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").field("owned", &self.owned).finish_non_exhaustive()
    }
}

impl<K> Drop for Graph<K> {
    fn drop(&mut self) {
        drop(self.graph.take());
        self.pool.give_back_captured(std::mem::take(&mut self.blocks));
    }
}
