//! Directives as they come on a session, each read in the light of those before.

use std::sync::Arc;

use super::session::fence;
use super::{Error, cohort, missing, task};
use crate::control::{Cohort, Directive, Prepare};
use crate::ids::{Generation, Incarnation, JobId, Rank};
use crate::wire;
use crate::wire::session_response as down;

/// Reads the directives of one session.
#[derive(Debug, Default)]
pub struct Directives {
    /// The cohort that was told last.
    last: Option<(JobId, Generation, Arc<Cohort>)>,
}

impl Directives {
    /// Reads the next directive.
    ///
    /// # Errors
    /// What is missing from it or wrong with it.
    pub fn read(&mut self, response: wire::SessionResponse) -> Result<Directive, Error> {
        Ok(match response.directive.ok_or(missing("SessionResponse", "directive"))? {
            down::Directive::Welcome(welcome) => {
                Directive::Welcome { incarnation: Incarnation(welcome.incarnation) }
            }
            down::Directive::Prepare(prepare) => Directive::Prepare(self.prepare(prepare)?),
            down::Directive::Start(start) => Directive::Start { fence: fence(start.fence, "Start")? },
            down::Directive::Abort(abort) => {
                Directive::Abort { fence: fence(abort.fence, "Abort")?, reason: abort.reason }
            }
            down::Directive::Checkpoint(checkpoint) => {
                Directive::Checkpoint { fence: fence(checkpoint.fence, "Checkpoint")? }
            }
            down::Directive::Drain(drain) => Directive::Drain { fence: fence(drain.fence, "Drain")? },
            down::Directive::Yield(stop) => Directive::Yield {
                fence: fence(stop.fence, "Yield")?,
                leaving: stop.leaving.into_iter().map(Rank).collect(),
            },
            down::Directive::Shutdown(shutdown) => Directive::Shutdown { reason: shutdown.reason },
            down::Directive::Acknowledged(known) => {
                Directive::Acknowledged { fence: fence(known.fence, "Acknowledged")? }
            }
            down::Directive::RunTask(run) => Directive::RunTask {
                claim: task::claim(run.claim, "RunTask")?,
                work: task::work(run.work, "RunTask")?,
            },
            down::Directive::StopTask(stop) => {
                Directive::StopTask { claim: task::claim(stop.claim, "StopTask")?, reason: stop.reason }
            }
            down::Directive::TaskAcknowledged(known) => {
                Directive::TaskAcknowledged { claim: task::claim(known.claim, "TaskAcknowledged")? }
            }
        })
    }

    fn prepare(&mut self, prepare: wire::Prepare) -> Result<Prepare, Error> {
        const MESSAGE: &str = "Prepare";
        let fence = fence(prepare.fence, MESSAGE)?;
        let told = prepare.cohort.ok_or(missing(MESSAGE, "cohort"))?;
        let of_job = self.last.as_ref().filter(|(job, ..)| *job == fence.job);
        let cohort = cohort::read(told, of_job.map(|(_, generation, cohort)| (*generation, &**cohort)))?;
        if prepare.rank as usize >= cohort.peers.len() {
            return Err(Error::OutOfRange {
                message: MESSAGE,
                field: "rank",
                expected: "less than the number of peers",
            });
        }
        self.last = Some((fence.job, fence.generation, Arc::clone(&cohort)));
        Ok(Prepare { fence, rank: Rank(prepare.rank), cohort })
    }
}

impl TryFrom<wire::SessionResponse> for Directive {
    type Error = Error;

    /// Reads a directive that stands alone.
    fn try_from(response: wire::SessionResponse) -> Result<Self, Error> {
        Directives::default().read(response)
    }
}
