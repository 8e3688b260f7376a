//! The ways in which a test runs: the order of threads, when streams run, which sanitizer watches.

use std::fmt;

/// Which sanitizer the library is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sanitizer {
    /// None: the fast build, with canaries and NaN-filled memory.
    Plain,
    /// AddressSanitizer and UndefinedBehaviorSanitizer.
    Address,
    /// ThreadSanitizer, with each CUDA thread as a fiber of its own.
    Thread,
}

/// The order in which the threads of a block and the blocks of a grid run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// By index.
    Forward,
    /// By index, from the last.
    Reverse,
    /// Shuffled anew between synchronizations.
    Seed(u64),
}

/// When the work of a stream runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Streams {
    /// As it is enqueued.
    Eager,
    /// When something waits for it, and nothing else then.
    Lazy,
    /// On a thread a stream, with delays from a seed.
    Async,
}

/// One way to run a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode {
    /// The library's build.
    pub sanitizer: Sanitizer,
    /// The order of threads and blocks.
    pub order: Order,
    /// When streams run.
    pub streams: Streams,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            Order::Forward => "forward".to_owned(),
            Order::Reverse => "reverse".to_owned(),
            Order::Seed(seed) => format!("seed {seed}"),
        };
        write!(f, "{:?}, {order}, {:?}", self.sanitizer, self.streams)
    }
}

impl Mode {
    /// A mode of the plain build.
    pub const fn plain(order: Order, streams: Streams) -> Self {
        Self { sanitizer: Sanitizer::Plain, order, streams }
    }

    /// The same order and streams under a sanitizer.
    pub const fn under(self, sanitizer: Sanitizer) -> Self {
        Self { sanitizer, ..self }
    }

    /// The variables that choose the order and the streams.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let order = match self.order {
            Order::Forward => "fwd".to_owned(),
            Order::Reverse => "rev".to_owned(),
            Order::Seed(seed) => seed.to_string(),
        };
        let seed = if let Order::Seed(seed) = self.order { seed } else { 1 };
        let streams = format!("{:?}", self.streams).to_lowercase();
        vec![
            ("SHIM_ORDER", order),
            ("MUSTER_DOUBLE_STREAMS", streams),
            ("MUSTER_DOUBLE_SEED", seed.to_string()),
        ]
    }
}

/// The modes that a test runs in.
#[derive(Debug, Clone)]
pub struct Modes(Vec<Mode>);

impl Modes {
    /// Only this one.
    pub fn only(mode: Mode) -> Self {
        Self(vec![mode])
    }

    /// Each order and each stream mode once, in the plain build: three children.
    pub fn usual() -> Self {
        Self(vec![
            Mode::plain(Order::Forward, Streams::Eager),
            Mode::plain(Order::Reverse, Streams::Lazy),
            Mode::plain(Order::Seed(1), Streams::Async),
        ])
    }

    /// The usual ones, and one under each sanitizer: five children.
    pub fn watched() -> Self {
        let mut modes = Self::usual();
        modes.0.push(Mode::plain(Order::Forward, Streams::Lazy).under(Sanitizer::Address));
        modes.0.push(Mode::plain(Order::Seed(2), Streams::Eager).under(Sanitizer::Thread));
        modes
    }

    /// Every order, seeds 1 to 3, with every stream mode in the plain build, and both sanitizers: 17 children.
    pub fn every() -> Self {
        let orders = [Order::Forward, Order::Reverse, Order::Seed(1), Order::Seed(2), Order::Seed(3)];
        let streams = [Streams::Eager, Streams::Lazy, Streams::Async];
        let each = |order| streams.iter().map(move |streams| Mode::plain(order, *streams));
        let mut modes = Self(orders.into_iter().flat_map(each).collect());
        modes.0.push(Mode::plain(Order::Forward, Streams::Lazy).under(Sanitizer::Address));
        modes.0.push(Mode::plain(Order::Seed(2), Streams::Eager).under(Sanitizer::Thread));
        modes
    }

    /// One more.
    #[must_use]
    pub fn and(mut self, mode: Mode) -> Self {
        self.0.push(mode);
        self
    }

    /// The modes in the order they run.
    pub fn iter(&self) -> impl Iterator<Item = Mode> + '_ {
        self.0.iter().copied()
    }
}
