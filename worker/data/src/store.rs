//! The columnar files of a prepared dataset: Arrow IPC files, named with size and digest by the manifest.
//!
//! Each file is one record batch, so that other Arrow readers can open it too. A reader checks size and
//! digest before it decodes, on each load.

mod codec;
mod dataset;
mod error;
mod items;
mod keys;
mod partition;

pub use dataset::Dataset;
pub use error::Error;
pub use items::{Attributes, Items, Vocabulary};
pub use keys::Keys;
pub use partition::{HeldOut, Partition, Series, Split};

pub(crate) use codec::{
    Shape, decode_partition, decode_vocabulary, encode_items, encode_partition, encode_vocabulary,
    write_partition,
};
pub(crate) use items::AttributeLists;
pub(crate) use partition::Cut;
