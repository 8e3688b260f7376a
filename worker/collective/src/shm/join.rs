//! Moving a group that is linked over TCP to shared memory, all ranks or none.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use super::Shm;
use super::region::{Layout, Region};
use crate::abort::Target;
use crate::error::Error;
use crate::exchange::{Exchange, Outgoing};
use crate::signature::{Dtype, Op, Shape, Signature};
use crate::tcp::Tcp;

/// Process and descriptor, u32 each, of the file that rank 0 made.
const PLACE: usize = 8;

/// What came of the move.
pub(crate) enum Joined {
    /// All ranks have mapped the memory.
    Shm(Shm),
    /// Some rank has not, for this reason.
    Tcp(Tcp, String),
}

/// Maps memory that rank 0 makes; all ranks call it, and all take the same way out.
pub(crate) fn join(mut tcp: Tcp) -> Result<Joined, Error> {
    let layout = Layout { world_size: tcp.links.len() };
    let (file, place) = match tcp.rank {
        0 => match Region::create(layout) {
            Ok(file) => {
                let place = [std::process::id(), file.as_raw_fd() as u32];
                (Some(file), bytemuck::cast_slice(&place).to_vec())
            }
            Err(error) => {
                tracing::warn!(%error, bytes = layout.bytes(), "failed to make shared memory");
                (None, Vec::new())
            }
        },
        _ => (None, Vec::new()),
    };
    let mut places: Vec<Vec<u8>> = vec![Vec::new(); layout.world_size];
    gather(&mut tcp, &place, &mut places)?;
    let mapped = match tcp.rank {
        0 => file.as_ref().map(|file| map(layout, file.try_clone())),
        _ => open(&places[0]).map(|file| map(layout, file)),
    };
    let (region, complaint) = match mapped {
        Some(Ok(region)) => (Some(region), String::new()),
        Some(Err(error)) => (None, format!("rank {} cannot map it: {error}", tcp.rank)),
        None => (None, "rank 0 cannot make it".to_owned()),
    };
    // Rank 0 keeps the file open until all have said how it went; only then may its descriptor go.
    let mut complaints: Vec<Vec<u8>> = vec![Vec::new(); layout.world_size];
    gather(&mut tcp, complaint.as_bytes(), &mut complaints)?;
    drop(file);
    let first = std::iter::once(complaint.as_bytes())
        .chain(complaints.iter().map(Vec::as_slice))
        .find(|c| !c.is_empty());
    match (region, first) {
        (Some(region), None) => {
            let region = Arc::new(region);
            tcp.abort.register(Target::Region(Arc::clone(&region)));
            Ok(Joined::Shm(Shm::new(tcp, &region)))
        }
        (_, complaint) => {
            let why = String::from_utf8_lossy(complaint.unwrap_or_default()).into_owned();
            Ok(Joined::Tcp(tcp, why))
        }
    }
}

fn map(layout: Layout, file: std::io::Result<OwnedFd>) -> std::io::Result<Region> {
    Region::map(layout, file?)
}

/// Opens rank 0's file, if it made one.
fn open(place: &[u8]) -> Option<std::io::Result<OwnedFd>> {
    let (pid, descriptor) = place.split_first_chunk::<{ PLACE / 2 }>()?;
    let descriptor = descriptor.try_into().ok()?;
    Some(Region::open(u32::from_ne_bytes(*pid), u32::from_ne_bytes(descriptor)))
}

/// Exchanges messages before the first collective.
pub(crate) fn gather(tcp: &mut Tcp, mine: &[u8], all: &mut Vec<Vec<u8>>) -> Result<(), Error> {
    let signature = Signature { op: Op::AllGather, dtype: Dtype::U8, shape: Shape::Uneven, seq: 0 };
    tcp.exchange(&signature, Outgoing::Same(&[mine]), all)
}
