//! Events over gRPC: a batch a call, or a stream of batches.

use std::collections::VecDeque;

use muster_proto::wire;
use muster_proto::wire::collect_service_server::CollectService;
use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use crate::intake::{Answer, Intake};
use crate::queue::{Pending, Refused};

/// Batches of a stream that are on their way to the disk at a time.
const MAX_PENDING: usize = 64;
/// When to come again, in milliseconds, as gRPC's retry policies read it.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Handlers {
    pub(crate) intake: Intake,
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        let mut status = match refused {
            Refused::Full => Self::resource_exhausted(message),
            Refused::Unwritable { .. } | Refused::Ending => Self::unavailable(message),
        };
        status.metadata_mut().insert(PUSHBACK, MetadataValue::from_static("1000"));
        status
    }
}

impl Handlers {
    fn check_size(&self, request: &wire::CollectRequest) -> Result<(), Status> {
        let (events, limit) = (request.events.len(), self.intake.limits.max_batch as usize);
        if events > limit {
            let message = format!("{events} events, over {limit} (`limits.max_batch`): send fewer");
            return Err(Status::invalid_argument(message));
        }
        Ok(())
    }

    fn turned_away(&self, refused: Refused) -> Status {
        self.intake.turned_away(&refused);
        refused.into()
    }

    /// Hands a batch of a stream over once there is room; `from` events came before it.
    async fn push(
        &self,
        batch: wire::CollectRequest,
        from: u64,
    ) -> Result<(Option<Pending>, Answer), Status> {
        self.check_size(&batch)?;
        let turned_away = |refused| self.turned_away(refused);
        let room = self.intake.queue.room(batch.encoded_len()).await.map_err(turned_away)?;
        let events = batch.events.into_iter().map(|event| Ok(event.into()));
        let (good, answer) = self.intake.sift(events, from);
        if good.is_empty() {
            return Ok((None, answer));
        }
        Ok((Some(self.intake.queue.submit(room, good).map_err(turned_away)?), answer))
    }
}

#[tonic::async_trait]
impl CollectService for Handlers {
    async fn collect(
        &self,
        request: Request<wire::CollectRequest>,
    ) -> Result<Response<wire::CollectResponse>, Status> {
        let request = request.into_inner();
        self.check_size(&request)?;
        let turned_away = |refused| self.turned_away(refused);
        let room = self.intake.queue.try_room(request.encoded_len()).map_err(turned_away)?;
        let (good, mut answer) =
            self.intake.sift(request.events.into_iter().map(|event| Ok(event.into())), 0);
        if !good.is_empty() {
            let pending = self.intake.queue.submit(room, good).map_err(turned_away)?;
            answer.keep(pending.kept().await.map_err(turned_away)?);
        }
        Ok(Response::new(answer.into()))
    }

    async fn collect_stream(
        &self,
        request: Request<Streaming<wire::CollectRequest>>,
    ) -> Result<Response<wire::CollectResponse>, Status> {
        let mut batches = request.into_inner();
        let mut ending = self.intake.ending.clone();
        let (mut answer, mut count) = (Answer::default(), 0);
        let mut pending: VecDeque<Pending> = VecDeque::new();
        loop {
            let batch = tokio::select! {
                batch = batches.message() => batch?,
                _ = ending.wait_for(|ending| *ending) => return Err(self.turned_away(Refused::Ending)),
            };
            let Some(batch) = batch else { break };
            let events = batch.events.len() as u64;
            let (next, refused) = self.push(batch, count).await?;
            count += events;
            answer.add(refused);
            pending.extend(next);
            if pending.len() > MAX_PENDING
                && let Some(first) = pending.pop_front()
            {
                answer.keep(first.kept().await.map_err(|refused| self.turned_away(refused))?);
            }
        }
        for last in pending {
            answer.keep(last.kept().await.map_err(|refused| self.turned_away(refused))?);
        }
        Ok(Response::new(answer.into()))
    }
}
