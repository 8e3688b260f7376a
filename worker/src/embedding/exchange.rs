//! The layout of exchanged messages: length-prefixed runs of u32 and f32, read with bounds.

/// Why an exchange of rows or gradients failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The collective failed.
    #[error("exchange of embedding rows failed")]
    Collective(#[from] muster_collective::Error),
    /// A kernel refused its arguments.
    #[error(transparent)]
    Kernel(#[from] muster_kernels::Error),
    /// The rows of this rank could not be read from its device.
    #[error(transparent)]
    Device(#[from] muster_kernels::cuda::Error),
    /// A peer asked for a row that is not on this rank.
    #[error("rank {peer} asked for row {row} of table {table}, which this rank does not own")]
    NotOwned {
        /// The table.
        table: String,
        /// The row.
        row: u32,
        /// Who asked.
        peer: usize,
    },
    /// Two ranks do not have the same touched rows.
    #[error(
        "rank {peer} tells of {found} touched rows of row block {block} of table {table}, this rank has {expected}: the ranks \
         do not have the same plan"
    )]
    Unlike {
        /// The table.
        table: String,
        /// The row block.
        block: u32,
        /// Who told.
        peer: usize,
        /// Rows there.
        found: usize,
        /// Rows here.
        expected: usize,
    },
    /// A message ended before what it announces.
    #[error("a message of {bytes} bytes ends inside a run of {announced} values")]
    Truncated {
        /// Length of the message.
        bytes: usize,
        /// Values announced.
        announced: usize,
    },
    /// An owner answered with fewer rows than it was asked for.
    #[error("rank {peer} answered with fewer rows than it was asked for")]
    Short {
        /// Who answered.
        peer: usize,
    },
}

/// Appends runs of values to a message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u32s(&mut self, values: &[u32]) {
        self.length(values.len());
        self.0.extend_from_slice(bytemuck::cast_slice(values));
    }

    pub(crate) fn f32s(&mut self, values: &[f32]) {
        self.length(values.len());
        self.0.extend_from_slice(bytemuck::cast_slice(values));
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn length(&mut self, length: usize) {
        self.0.extend_from_slice(&(length as u64).to_le_bytes());
    }
}

/// Reads runs of values from a message.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    all: &'a [u8],
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { all: bytes, left: bytes }
    }

    pub(crate) fn u32s(&mut self) -> Result<Vec<u32>, Error> {
        let bytes = self.run()?;
        Ok(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    pub(crate) fn f32s(&mut self) -> Result<Vec<f32>, Error> {
        let bytes = self.run()?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    fn run(&mut self) -> Result<&'a [u8], Error> {
        let truncated = |announced| Error::Truncated { bytes: self.all.len(), announced };
        let (length, rest) = self.left.split_first_chunk::<8>().ok_or_else(|| truncated(0))?;
        let length = u64::from_le_bytes(*length) as usize;
        let bytes = length.checked_mul(4).filter(|b| *b <= rest.len()).ok_or_else(|| truncated(length))?;
        let (run, left) = rest.split_at(bytes);
        self.left = left;
        Ok(run)
    }
}
