//! The layouts of a table, and what each piece of them costs.
//!
//! TableWise: one owner. ColumnWise(k): k owners of dim/k columns, each gets all ids. RowWise: rows spread over all ranks, each sends
//! partial sums of the whole batch, or its own rows where they are not summed. TableRowWise: row-wise in one node, sums leave it once. Grid(k): k column blocks, each
//! table-row-wise. DataParallel: a replica on each rank, gradients summed.

use muster_proto::capacity::{LayoutKind, Software};

use super::table::{ID, Table};
use super::{Cluster, Phase, Phases, Pieces, Setting};

/// A layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// One owner.
    TableWise,
    /// So many owners of columns.
    ColumnWise(u32),
    /// All ranks own rows.
    RowWise,
    /// The ranks of a node own rows.
    TableRowWise,
    /// So many nodes own columns, their ranks rows.
    Grid(u32),
    /// Every rank has all.
    DataParallel,
}

/// Where the pieces of an option may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Each piece on a rank of its own choice.
    Rank,
    /// Groups of as many pieces as a node has ranks, each group on the ranks of one node.
    Node,
    /// Piece i on rank i.
    All,
}

/// What one rank does and holds for an option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// Seconds of each phase, without latencies.
    pub cost: Phases,
    /// Bytes of weights, optimizer state and buffers of exchange, on the device.
    pub memory: f64,
    /// Bytes of weights and optimizer state in the host's memory.
    pub host: f64,
}

/// A layout of a table with its pieces.
#[derive(Debug, Clone, PartialEq)]
pub struct LayoutOption {
    /// The layout.
    pub layout: Layout,
    /// Where pieces may lie.
    pub span: Span,
    /// The pieces.
    pub pieces: Pieces,
}

impl Layout {
    /// What kind of layout it is, whatever the number of pieces.
    #[must_use]
    pub fn kind(self) -> LayoutKind {
        match self {
            Self::TableWise => LayoutKind::TableWise,
            Self::ColumnWise(_) => LayoutKind::ColumnWise,
            Self::RowWise => LayoutKind::RowWise,
            Self::TableRowWise => LayoutKind::TableRowWise,
            Self::Grid(_) => LayoutKind::Grid,
            Self::DataParallel => LayoutKind::DataParallel,
        }
    }

    /// As people write it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::TableWise => "table_wise".into(),
            Self::ColumnWise(k) => format!("column_wise({k})"),
            Self::RowWise => "row_wise".into(),
            Self::TableRowWise => "table_row_wise".into(),
            Self::Grid(k) => format!("grid({k})"),
            Self::DataParallel => "data_parallel".into(),
        }
    }
}

/// The layouts of `table` on `cluster` that `setting.software` has and the user allows; none is weighed against the memory here.
#[must_use]
pub fn options(table: &Table, cluster: &Cluster, setting: &Setting) -> Vec<LayoutOption> {
    let n = cluster.world_size;
    let mut layouts = vec![Layout::TableWise];
    if n > 1 {
        let columns = (1..=4).map(|bit| 1 << bit).filter(|k| *k <= n && table.dim / f64::from(*k) >= 8.0);
        layouts.extend(columns.map(Layout::ColumnWise));
        if setting.software != Software::TensorFlow {
            layouts.extend([Layout::RowWise, Layout::DataParallel]);
            if cluster.nodes() > 1 {
                layouts.push(Layout::TableRowWise);
                let blocks = [2, 4].into_iter().filter(|k| *k <= cluster.nodes());
                layouts.extend(blocks.filter(|k| table.dim / f64::from(*k) >= 8.0).map(Layout::Grid));
            }
        }
    }
    if table.device_cache.is_some() {
        // Replicas are all in step with each other: rows that come and go would have to come and go everywhere.
        layouts.retain(|layout| *layout != Layout::DataParallel);
    }
    layouts.retain(|layout| table.demand.allows(layout.kind()));
    layouts.into_iter().map(|layout| option(table, layout, cluster, setting)).collect()
}

/// One layout of a table with its pieces.
#[must_use]
pub fn option(table: &Table, layout: Layout, cluster: &Cluster, setting: &Setting) -> LayoutOption {
    let (n, g) = (cluster.n(), cluster.g());
    let span = match layout {
        Layout::TableWise | Layout::ColumnWise(_) => Span::Rank,
        Layout::TableRowWise | Layout::Grid(_) => Span::Node,
        Layout::RowWise | Layout::DataParallel => Span::All,
    };
    let pieces = match layout {
        Layout::TableWise => Pieces::repeat(piece(table, layout, 1.0, 1.0, cluster, setting), 1),
        Layout::ColumnWise(k) => Pieces::repeat(piece(table, layout, 1.0, f64::from(k), cluster, setting), k),
        Layout::TableRowWise => {
            Pieces::repeat(piece(table, layout, 1.0 / g, 1.0, cluster, setting), cluster.per_node)
        }
        Layout::Grid(k) => Pieces::repeat(
            piece(table, layout, 1.0 / g, f64::from(k), cluster, setting),
            k * cluster.per_node,
        ),
        Layout::RowWise => {
            // Rows are spread by hash; the owner of the hottest one gets its lookups on top.
            let hottest = table.skew.share_of_top(1.0);
            let even = (1.0 - hottest) / n;
            let other = piece(table, layout, even, 1.0, cluster, setting);
            let first = piece(table, layout, even + hottest, 1.0, cluster, setting);
            Pieces::one_and(first, other, cluster.world_size - 1)
        }
        Layout::DataParallel => {
            Pieces::repeat(piece(table, layout, 1.0, 1.0, cluster, setting), cluster.world_size)
        }
    };
    LayoutOption { layout, span, pieces }
}

/// The piece of a rank that owns one of `blocks` equal column blocks; not a whole number where blocks of a table meet on a rank.
#[must_use]
pub fn columns(table: &Table, blocks: f64, cluster: &Cluster, setting: &Setting) -> Piece {
    piece(table, Layout::ColumnWise(blocks.ceil() as u32), 1.0, blocks, cluster, setting)
}

/// The piece that gets `share` of the ids and holds one of `blocks` column blocks.
fn piece(
    table: &Table,
    layout: Layout,
    share: f64,
    blocks: f64,
    cluster: &Cluster,
    setting: &Setting,
) -> Piece {
    let n = cluster.n();
    let samples = if layout == Layout::DataParallel { setting.batch / n } else { setting.batch };
    let mut part = table.part(samples, share, table.dim / blocks, cluster.device.cache);
    if !table.pooled {
        // Partial sums leave from each owner; rows that are not summed leave from the one that has them.
        part.vectors *= share;
    }
    let rate = cluster.device.memory_rate * setting.constants.row_share;
    // TensorFlow runs kernels of its own for each feature; half of their time is before the loss.
    let launches = match setting.software {
        Software::TensorFlow => table.features * setting.constants.per_feature / 2.0,
        Software::Muster | Software::HugeCtr => 0.0,
    };
    let from_host = table.missed_bytes(&part, share) / cluster.device.host_rate;
    let cost = Phases::default()
        .with(Phase::Lookup, launches + table.lookup_bytes(&part, setting) / rate + from_host)
        .with(Phase::TableUpdate, launches + table.update_bytes(&part, setting) / rate + from_host);
    let vectors = part.vectors * part.dim * setting.wire.bytes();
    let held = match layout {
        Layout::DataParallel => 1.0,
        Layout::RowWise => 1.0 / n,
        _ => share / blocks,
    };
    let (device, host) = table.tiers(table.bytes() * held);
    let memory = device + 2.0 * vectors + ID * part.lookups;
    let cost = cost + exchanges(table, layout, part.lookups, vectors, (cluster, setting));
    Piece { cost, memory, host }
}

/// Seconds of the exchanges: `vectors` are the bytes of pooled rows, of the whole batch, that the owner has.
fn exchanges(
    table: &Table,
    layout: Layout,
    lookups: f64,
    vectors: f64,
    (cluster, setting): (&Cluster, &Setting),
) -> Phases {
    let links = &cluster.device.links;
    let (n, g) = (cluster.n(), cluster.g());
    let network = cluster.device.network_rate * setting.constants.network_share;
    // Traffic inside and between nodes flows at the same time, and each device has one network card.
    let spread =
        |bytes: f64| (bytes * (g - 1.0) / n / links.all_to_all.rate).max(bytes * (n - g) / n / network);
    let (forward, all_reduce) = match layout {
        Layout::TableWise | Layout::ColumnWise(_) => (spread(vectors), 0.0),
        Layout::RowWise | Layout::TableRowWise | Layout::Grid(_) if !table.pooled => (spread(vectors), 0.0),
        Layout::RowWise | Layout::TableRowWise | Layout::Grid(_) => {
            let inside = vectors * (g - 1.0) / g / links.reduce_scatter.rate;
            (inside + vectors / g * (n - g) / n / network, 0.0)
        }
        Layout::DataParallel => {
            let dense = table.rows * table.dim * setting.wire.bytes();
            // Of a large table only the rows of the batch are gathered, with their ids.
            let sparse = table.skew.distinct(lookups) * (table.dim * setting.wire.bytes() + ID) * n / 2.0;
            (0.0, all_reduce_seconds(dense.min(sparse), cluster, setting))
        }
    };
    let ids = match (layout, setting.software) {
        // HugeCTR's and the synthetic models' readers give each rank the ids of its own tables.
        (Layout::DataParallel, _) | (_, Software::HugeCtr | Software::TensorFlow) => 0.0,
        _ => spread(ID * lookups),
    };
    Phases::default()
        .with(Phase::InputExchange, ids)
        .with(Phase::ForwardExchange, forward)
        .with(Phase::BackwardExchange, forward)
        .with(Phase::AllReduce, all_reduce)
}

/// Seconds of an all_reduce of `bytes`, without latency: inside of nodes, then a share of each rank over its network card.
#[must_use]
pub fn all_reduce_seconds(bytes: f64, cluster: &Cluster, setting: &Setting) -> f64 {
    let (n, g) = (cluster.n(), cluster.g());
    let inside = 2.0 * bytes * (g - 1.0) / g / cluster.device.links.all_reduce.rate;
    let nodes = n / g;
    let network = cluster.device.network_rate * setting.constants.network_share;
    inside + 2.0 * bytes / g * (nodes - 1.0) / nodes / network
}
