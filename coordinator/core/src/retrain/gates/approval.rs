//! A person's word, which is of one model and does not last.

use jiff::Timestamp;
use muster_proto::schedule::{ColdStart, GatesSpec};
use muster_proto::units::format_duration;

use super::{Evidence, Outcome, Verdict};

/// The gate's key.
pub(super) const GATE: &str = "approval";

/// Whether somebody agreed to this model, recently enough; none where nobody is asked.
pub(super) fn judge(spec: &GatesSpec, evidence: &Evidence, now: Timestamp) -> Option<Verdict> {
    let approval = spec.approval.as_ref()?;
    let is_first = evidence.champion.is_none() && spec.cold_start == ColdStart::Approval;
    if !approval.always && !is_first {
        return None;
    }
    let of_this =
        |word: &&super::Approval| word.model_digest == evidence.candidate.model_digest && word.at <= now;
    let newest = evidence.approvals.iter().filter(of_this).max_by_key(|word| word.at);
    let waits = |why: String| Verdict { outcome: Outcome::Waiting, ..Verdict::new(GATE, false, why) };
    Some(match newest {
        None => waits("nobody has approved this model yet".to_owned()),
        // A word whose end is beyond the end of time counts.
        Some(word) if word.at.checked_add(approval.expires).is_ok_and(|end| end <= now) => {
            let counts = format_duration(approval.expires);
            waits(format!("{}'s approval of {} counted for {counts} only", word.by, word.at))
        }
        Some(word) => Verdict::new(GATE, true, format!("{} approved it at {}", word.by, word.at)),
    })
}
