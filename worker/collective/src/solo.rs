//! A group of one rank: no I/O.

use crate::error::Error;
use crate::exchange::{Exchange, Outgoing};
use crate::plan::Plan;
use crate::receive::Receive;
use crate::reduce::{Scratch, Terms};
use crate::signature::Signature;

/// The only rank of its world.
pub(crate) struct Solo;

impl Exchange for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        1
    }

    fn exchange(&mut self, _: &Signature, _: Outgoing<'_>, _: &mut dyn Receive) -> Result<(), Error> {
        Ok(())
    }

    fn reduce(
        &mut self,
        _signature: &Signature,
        terms: Terms<'_>,
        out: &mut [f32],
        _scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let Terms::Roots { roots, leaves } = terms else { return Ok(()) };
        let ranges: Vec<_> = roots.iter().map(|root| (root.lo, root.hi)).collect();
        let terms: Vec<_> = roots.iter().map(|root| root.values).collect();
        Plan::tree(leaves, &ranges)?.add(&terms, out);
        Ok(())
    }

    fn close(&mut self) {}
}
