//! Why a problem cannot be, or cannot be solved.

/// A problem that is malformed, or that no plan solves.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// No rank at all.
    #[error("the cluster has no devices; set world_size and local_world_size to at least 1")]
    NoDevices,
    /// Ranks do not fill nodes.
    #[error(
        "world_size {world_size} is not a multiple of local_world_size {local_world_size}; change one of them"
    )]
    UnequalNodes {
        /// Ranks in all.
        world_size: usize,
        /// Ranks of a node.
        local_world_size: usize,
    },
    /// The nodes do not add up.
    #[error(
        "the nodes have {sum} ranks, the cluster {world_size}; each node needs at least 1, and the sums have to agree"
    )]
    NodeSizes {
        /// Ranks of all nodes.
        sum: usize,
        /// Devices.
        world_size: usize,
    },
    /// Too few or too many phases.
    #[error("a step has {phases} phases; give 1 to 8")]
    Phases {
        /// As asked.
        phases: usize,
    },
    /// Two tables of one name.
    #[error("table `{table}` is given twice; give each table a name of its own")]
    DuplicateTable {
        /// Its name.
        table: String,
    },
    /// Nothing to choose from.
    #[error("table `{table}` has no options; give it at least one")]
    NoOptions {
        /// Its name.
        table: String,
    },
    /// A cost that is none.
    #[error(
        "option `{option}` of table `{table}` has the cost {cost}; costs are finite and not negative, and at most 1e100"
    )]
    BadCost {
        /// The table.
        table: String,
        /// The option.
        option: String,
        /// As given.
        cost: f64,
    },
    /// A vector of costs of the wrong length.
    #[error(
        "option `{option}` of table `{table}` has {found} costs a piece; give {wanted}, one a class and phase"
    )]
    CostShape {
        /// The table.
        table: String,
        /// The option.
        option: String,
        /// As given.
        found: usize,
        /// Classes times phases.
        wanted: usize,
    },
    /// Pieces that the layout cannot place.
    #[error("option `{option}` of table `{table}` has {found} pieces; its layout needs {wanted}")]
    PieceCount {
        /// The table.
        table: String,
        /// The option.
        option: String,
        /// As given.
        found: usize,
        /// What the layout needs, in words.
        wanted: String,
    },
    /// A demand that names no option.
    #[error("a constraint on table `{table}` names the option `{option}`; it has: {known}")]
    UnknownOption {
        /// The table.
        table: String,
        /// As given.
        option: String,
        /// What there is.
        known: String,
    },
    /// A demand that names no rank.
    #[error("a constraint on table `{table}` names rank {rank}; ranks are 0 to {}", world_size - 1)]
    UnknownRank {
        /// The table.
        table: String,
        /// As given.
        rank: usize,
        /// Ranks in all.
        world_size: usize,
    },
    /// Demands that leave nothing.
    #[error(
        "the constraints on table `{table}` leave it no option; drop a pin or a ban, or allow more ranks"
    )]
    Contradiction {
        /// The table.
        table: String,
    },
    /// One table is too large for every rank.
    #[error(
        "table `{table}` fits no rank: the smallest largest piece of its options misses {missing} bytes; split it further, or give ranks more memory"
    )]
    TableTooLarge {
        /// The table.
        table: String,
        /// Bytes that the roomiest rank lacks.
        missing: u64,
    },
    /// All tables together are too large.
    #[error(
        "the tables need at least {needed} bytes, the ranks have {available}: {missing} bytes are missing, `{table}` is the largest; add ranks or memory, or allow options that keep less on devices"
    )]
    TooLarge {
        /// The table with the most bytes.
        table: String,
        /// Sum over tables of the least memory of an option.
        needed: u128,
        /// Sum over ranks.
        available: u128,
        /// The difference.
        missing: u128,
    },
    /// Pins to ranks that are too small for what is pinned there.
    #[error(
        "the tables pinned to ranks {} need at least {needed} bytes, these have {available}: {} bytes are missing, `{table}` is the largest; pin to more ranks, or pin fewer tables",
        ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        needed - available
    )]
    Pinned {
        /// The largest of the tables.
        table: String,
        /// The ranks.
        ranks: Vec<usize>,
        /// Sum over their tables of the least memory of an option.
        needed: u128,
        /// Memory of the ranks.
        available: u128,
    },
    /// Exhaustive search found no plan.
    #[error(
        "no placement fits: all were tried; table `{table}` came closest, and lacks {missing} bytes; add memory or options"
    )]
    Exhausted {
        /// A table that found no place.
        table: String,
        /// Bytes that the roomiest rank lacked.
        missing: u64,
    },
    /// The search found no plan, and there is no proof that there is none.
    #[error(
        "no placement was found within the search's budget, nor a proof that there is none; table `{table}` came closest, and lacks {missing} bytes; add memory or options"
    )]
    NotFound {
        /// A table that found no place.
        table: String,
        /// Bytes that the roomiest rank lacked.
        missing: u64,
    },
}

impl Error {
    /// Whether more memory, or more ranks, would mend it.
    #[must_use]
    pub fn is_of_memory(&self) -> bool {
        matches!(
            self,
            Self::TableTooLarge { .. }
                | Self::TooLarge { .. }
                | Self::Pinned { .. }
                | Self::Exhausted { .. }
                | Self::NotFound { .. }
        )
    }
}
