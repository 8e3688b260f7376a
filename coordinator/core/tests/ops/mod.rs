//! What may happen to a core, in any order.

use muster_proto::control::{Class, FailureCause, TaskEnd};
use proptest::prelude::*;

/// Worker names that are in play.
const NAMES: usize = 4;

/// One thing that happens. A report's `claim` is added to a part of the true fence; mostly it is zero.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Register { name: usize },
    Open { name: usize, older: bool, running: bool },
    Close { name: usize },
    Report { name: usize, kind: Kind, claim: [u64; 3], later: bool },
    Submit { world_size: u32, class: Class },
    Cancel { job: u64, drain: bool },
    Checkpoint { job: u64 },
    Scale { job: u64, workers: u32 },
    Cordon { worker: u64, cordoned: bool, drain: bool },
    Create { owner: u64, numbers: u32 },
    Hold { owner: u64 },
    Release { owner: u64 },
    Task { name: usize, end: Option<TaskEnd>, claim: [u32; 3] },
    Advance { millis: u64 },
    Dismiss,
    Restart,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Beat { running: bool },
    Ready,
    CatchUp,
    Yield,
    Progress { evaluated: bool },
    Saved { step: u64, manifest: bool },
    Finish,
    Fail { cause: FailureCause },
}

fn kinds() -> impl Strategy<Value = Kind> {
    let causes = prop_oneof![
        Just(FailureCause::Own),
        Just(FailureCause::Peer),
        Just(FailureCause::Aborted),
        Just(FailureCause::Panic),
    ];
    prop_oneof![
        4 => any::<bool>().prop_map(|running| Kind::Beat { running }),
        8 => Just(Kind::Ready),
        2 => Just(Kind::CatchUp),
        4 => Just(Kind::Yield),
        2 => any::<bool>().prop_map(|evaluated| Kind::Progress { evaluated }),
        3 => (0_u64..8, any::<bool>()).prop_map(|(step, manifest)| Kind::Saved { step, manifest }),
        3 => Just(Kind::Finish),
        2 => causes.prop_map(|cause| Kind::Fail { cause }),
    ]
}

pub(crate) fn ops() -> impl Strategy<Value = Op> {
    let claim = prop_oneof![
        6 => Just([0; 3]),
        1 => (0_usize..3, prop_oneof![Just(1_u64), Just(u64::MAX)]).prop_map(|(part, by)| {
            let mut claim = [0; 3];
            claim[part] = by;
            claim
        }),
    ];
    prop_oneof![
        4 => (0..NAMES).prop_map(|name| Op::Register { name }),
        6 => (0..NAMES, prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(name, older, running)| Op::Open { name, older, running }),
        2 => (0..NAMES).prop_map(|name| Op::Close { name }),
        20 => (0..NAMES, kinds(), claim, prop::bool::weighted(0.2))
            .prop_map(|(name, kind, claim, later)| Op::Report { name, kind, claim, later }),
        4 => (0_u32..4, 0..3_usize)
            .prop_map(|(world_size, class)| Op::Submit { world_size, class: Class::ALL[class] }),
        1 => (0_u64..12, any::<bool>()).prop_map(|(job, drain)| Op::Cancel { job, drain }),
        1 => (0_u64..12).prop_map(|job| Op::Checkpoint { job }),
        2 => (0_u64..12, 0_u32..5).prop_map(|(job, workers)| Op::Scale { job, workers }),
        1 => (0_u64..6, prop::bool::weighted(0.3), prop::bool::weighted(0.3))
            .prop_map(|(worker, cordoned, drain)| Op::Cordon { worker, cordoned, drain }),
        4 => (0_u64..3, 0_u32..4).prop_map(|(owner, numbers)| Op::Create { owner, numbers }),
        1 => (0_u64..3).prop_map(|owner| Op::Hold { owner }),
        1 => (0_u64..3).prop_map(|owner| Op::Release { owner }),
        8 => (0..NAMES, task_ends(), task_claims()).prop_map(|(name, end, claim)| Op::Task { name, end, claim }),
        4 => (0_u64..3000).prop_map(|millis| Op::Advance { millis }),
        1 => Just(Op::Dismiss),
        1 => Just(Op::Restart),
    ]
}

/// How a worker's task ends, if it does.
fn task_ends() -> impl Strategy<Value = Option<TaskEnd>> {
    prop_oneof![
        2 => Just(None),
        3 => Just(Some(TaskEnd::Done(serde_json::json!(1)))),
        1 => Just(Some(TaskEnd::Failed("test".into()))),
        2 => Just(Some(TaskEnd::Stopped)),
    ]
}

/// What is added to number, attempt and incarnation of the true claim; mostly nothing.
fn task_claims() -> impl Strategy<Value = [u32; 3]> {
    prop_oneof![
        6 => Just([0; 3]),
        1 => (0_usize..3, prop_oneof![Just(1_u32), Just(u32::MAX)]).prop_map(|(part, by)| {
            let mut claim = [0; 3];
            claim[part] = by;
            claim
        }),
    ]
}
