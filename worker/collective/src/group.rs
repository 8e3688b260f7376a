//! The collectives, over any transport that exchanges messages.

use std::time::Duration;

use crate::abort::AbortHandle;
use crate::error::Error;
use crate::exchange::{Exchange, Outgoing, deliver_own};
use crate::flight::{Flight, Recorder};
use crate::receive::{From, Nothing, Receive};
use crate::reduce::{self, Scratch, Terms};
use crate::segment::segment;
use crate::signature::{Dtype, Op, Shape, Signature};
use crate::tree::Root;
use crate::{Collective, Transport};

/// Ranks that run collectives one after the other; counts them, and stays failed once one has failed.
pub(crate) struct Group<E: Exchange> {
    exchange: E,
    transport: Transport,
    abort: AbortHandle,
    seq: u64,
    failure: Option<Error>,
    scratch: Scratch,
    recorder: Recorder,
}

impl<E: Exchange> Group<E> {
    pub(crate) fn new(exchange: E, transport: Transport, abort: AbortHandle) -> Self {
        let (scratch, recorder) = (Scratch::default(), Recorder::new());
        Self { exchange, transport, abort, seq: 0, failure: None, scratch, recorder }
    }

    /// Runs one collective, to which this rank gives so many bytes, under the next sequence number.
    fn run(
        &mut self,
        (op, dtype, shape): (Op, Dtype, Shape),
        bytes: usize,
        body: impl FnOnce(&mut E, &Signature, &mut Scratch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.seq += 1;
        self.abort.beat();
        let signature = Signature { op, dtype, shape, seq: self.seq };
        self.recorder.begin(&signature, bytes as u64);
        let outcome = self
            .abort
            .check()
            .and_then(|()| body(&mut self.exchange, &signature, &mut self.scratch))
            // An abort closes the links, which may be noticed before the abort itself.
            .map_err(|error| self.abort.check().err().unwrap_or(error));
        if outcome.is_ok() {
            self.recorder.end();
        }
        if let Err(error) = &outcome {
            tracing::debug!(rank = self.exchange.rank(), seq = self.seq, %error, "collective failed");
            self.failure = Some(error.clone());
            self.exchange.close();
        }
        outcome
    }
}

impl<E: Exchange> Drop for Group<E> {
    fn drop(&mut self) {
        self.abort.release();
    }
}

impl<E: Exchange> Collective for Group<E> {
    fn rank(&self) -> usize {
        self.exchange.rank()
    }

    fn world_size(&self) -> usize {
        self.exchange.world_size()
    }

    fn transport(&self) -> Transport {
        self.transport
    }

    fn all_to_all_bytes(
        &mut self,
        dtype: Dtype,
        send: &[&[u8]],
        recv: &mut dyn Receive,
    ) -> Result<(), Error> {
        expect("send", "one message per rank", self.world_size(), send.len())?;
        let messages: Vec<&[&[u8]]> = send.iter().map(std::slice::from_ref).collect();
        let bytes = send.iter().map(|message| message.len()).sum();
        self.run((Op::AllToAll, dtype, Shape::Uneven), bytes, |exchange, signature, _| {
            exchange.exchange(signature, Outgoing::Each(&messages), recv)?;
            deliver_own(exchange.rank(), messages[exchange.rank()], recv)
        })
    }

    fn all_gather_bytes(&mut self, dtype: Dtype, mine: &[u8], recv: &mut dyn Receive) -> Result<(), Error> {
        self.run((Op::AllGather, dtype, Shape::Uneven), mine.len(), |exchange, signature, _| {
            exchange.exchange(signature, Outgoing::Same(&[mine]), recv)?;
            deliver_own(exchange.rank(), &[mine], recv)
        })
    }

    fn broadcast_bytes(&mut self, dtype: Dtype, root: usize, data: &mut [u8]) -> Result<(), Error> {
        if root >= self.world_size() {
            return Err(Error::argument("root", &format!("below {}", self.world_size()), &root));
        }
        let call = (Op::Broadcast { root: root as u64 }, dtype, Shape::Elements(data.len() as u64));
        let bytes = if self.rank() == root { data.len() } else { 0 };
        self.run(call, bytes, |exchange, signature, _| {
            if exchange.rank() == root {
                exchange.exchange(signature, Outgoing::Same(&[data]), &mut Nothing)
            } else {
                exchange.exchange(signature, Outgoing::Same(&[]), &mut From { rank: root, data })
            }
        })
    }

    fn all_reduce(&mut self, data: &mut [f32]) -> Result<(), Error> {
        let shape = Shape::Elements(data.len() as u64);
        self.run((Op::AllReduce, Dtype::F32, shape), size_of_val(data), |exchange, signature, scratch| {
            exchange.reduce(signature, Terms::InPlace, data, scratch)
        })
    }

    fn all_reduce_tree(&mut self, roots: &[Root<'_>], leaves: usize, out: &mut [f32]) -> Result<(), Error> {
        if u32::try_from(leaves).is_err() {
            return Err(Error::argument("leaves", &"below 2^32", &leaves));
        }
        for root in roots {
            expect("roots", "values as long as out", out.len(), root.values.len())?;
            if root.lo >= root.hi || root.hi > leaves {
                let got = format!("{}..{}", root.lo, root.hi);
                return Err(Error::argument("roots", &format!("ranges within 0..{leaves}"), &got));
            }
        }
        let shape = Shape::Elements(out.len() as u64);
        let op = Op::AllReduceTree { leaves: leaves as u64 };
        let bytes = roots.iter().map(|root| size_of_val(root.values)).sum();
        self.run((op, Dtype::F32, shape), bytes, |exchange, signature, scratch| {
            exchange.reduce(signature, Terms::Roots { roots, leaves }, out, scratch)
        })
    }

    fn reduce_scatter(&mut self, data: &[f32], mine: &mut [f32]) -> Result<(), Error> {
        let part = segment(data.len(), self.world_size(), self.rank());
        expect("mine", "this rank's segment", part.len(), mine.len())?;
        let shape = Shape::Elements(data.len() as u64);
        self.run((Op::ReduceScatter, Dtype::F32, shape), size_of_val(data), |exchange, signature, scratch| {
            reduce::scatter(exchange, signature, (data, mine), scratch)
        })
    }

    fn barrier(&mut self) -> Result<(), Error> {
        self.run((Op::Barrier, Dtype::U8, Shape::Elements(0)), 0, |exchange, signature, _| {
            exchange.exchange(signature, Outgoing::Same(&[]), &mut Nothing)
        })
    }

    fn flights(&self) -> Vec<Flight> {
        self.recorder.flights()
    }

    fn inside(&self) -> Duration {
        self.recorder.inside()
    }

    fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }
}

fn expect(argument: &'static str, what: &str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got {
        return Ok(());
    }
    Err(Error::argument(argument, &format!("{what}: {expected}"), &got))
}
