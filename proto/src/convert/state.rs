//! Conversions of who acts, and in which state things are.

use std::time::Duration;

use super::{Error, missing};
use crate::control::{Capabilities, DeviceKind, Gpu, JobPhase, Progress, RankStage, RankState, StepTiming};
use crate::fence::Fence;
use crate::ids::{Generation, Incarnation, JobId, Step};
use crate::wire;

/// A duration for the wire.
#[must_use]
pub fn duration(value: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(value.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: value.subsec_nanos() as i32 }
}

/// A duration from the wire.
///
/// # Errors
/// If it is missing or negative.
pub fn duration_from(
    value: Option<prost_types::Duration>,
    message: &'static str,
    field: &'static str,
) -> Result<Duration, Error> {
    let value = value.ok_or(missing(message, field))?;
    Duration::try_from(value).map_err(|_| Error::OutOfRange {
        message,
        field,
        expected: "a duration from 0 up",
    })
}

impl From<Fence> for wire::Fence {
    fn from(fence: Fence) -> Self {
        Self { job: fence.job.0, generation: fence.generation.0, incarnation: fence.incarnation.0 }
    }
}

impl From<wire::Fence> for Fence {
    fn from(fence: wire::Fence) -> Self {
        Self {
            job: JobId(fence.job),
            generation: Generation(fence.generation),
            incarnation: Incarnation(fence.incarnation),
        }
    }
}

impl From<DeviceKind> for wire::DeviceKind {
    fn from(device: DeviceKind) -> Self {
        match device {
            DeviceKind::Cpu => Self::Cpu,
            DeviceKind::Cuda => Self::Cuda,
        }
    }
}

/// The device that a number on the wire stands for, if it stands for one.
pub(super) fn device_from(value: i32, message: &'static str) -> Result<Option<DeviceKind>, Error> {
    match wire::DeviceKind::try_from(value) {
        Ok(wire::DeviceKind::Unspecified) => Ok(None),
        Ok(wire::DeviceKind::Cpu) => Ok(Some(DeviceKind::Cpu)),
        Ok(wire::DeviceKind::Cuda) => Ok(Some(DeviceKind::Cuda)),
        Err(_) => Err(Error::UnknownValue { message, field: "device", value }),
    }
}

impl From<Progress> for wire::Progress {
    fn from(progress: Progress) -> Self {
        let Progress { epoch, epochs, step, steps_per_epoch, loss, tokens_per_second, samples, metrics } =
            progress;
        Self { epoch, epochs, step: step.0, steps_per_epoch, loss, tokens_per_second, samples, metrics }
    }
}

impl From<wire::Progress> for Progress {
    fn from(progress: wire::Progress) -> Self {
        let wire::Progress {
            epoch,
            epochs,
            step,
            steps_per_epoch,
            loss,
            tokens_per_second,
            samples,
            metrics,
        } = progress;
        Self { epoch, epochs, step: Step(step), steps_per_epoch, loss, tokens_per_second, samples, metrics }
    }
}

impl From<JobPhase> for wire::JobPhase {
    fn from(phase: JobPhase) -> Self {
        match phase {
            JobPhase::Gathering => Self::Gathering,
            JobPhase::Planning => Self::Planning,
            JobPhase::Loading => Self::Loading,
            JobPhase::Training => Self::Training,
            JobPhase::Draining => Self::Draining,
            JobPhase::Recovering => Self::Recovering,
            JobPhase::Finished => Self::Finished,
            JobPhase::Failed => Self::Failed,
            JobPhase::Cancelled => Self::Cancelled,
        }
    }
}

/// The phase that a number on the wire stands for.
pub(super) fn phase_from(value: i32, message: &'static str) -> Result<JobPhase, Error> {
    match wire::JobPhase::try_from(value) {
        Ok(wire::JobPhase::Gathering) => Ok(JobPhase::Gathering),
        Ok(wire::JobPhase::Planning) => Ok(JobPhase::Planning),
        Ok(wire::JobPhase::Loading) => Ok(JobPhase::Loading),
        Ok(wire::JobPhase::Training) => Ok(JobPhase::Training),
        Ok(wire::JobPhase::Draining) => Ok(JobPhase::Draining),
        Ok(wire::JobPhase::Recovering) => Ok(JobPhase::Recovering),
        Ok(wire::JobPhase::Finished) => Ok(JobPhase::Finished),
        Ok(wire::JobPhase::Failed) => Ok(JobPhase::Failed),
        Ok(wire::JobPhase::Cancelled) => Ok(JobPhase::Cancelled),
        Ok(wire::JobPhase::Unspecified) => Err(missing(message, "phase")),
        Err(_) => Err(Error::UnknownValue { message, field: "phase", value }),
    }
}

impl From<Capabilities> for wire::Capabilities {
    fn from(capabilities: Capabilities) -> Self {
        Self {
            name: capabilities.name,
            host: capabilities.host,
            cpu_threads: capabilities.cpu_threads,
            memory_bytes: capabilities.memory_bytes,
            device: wire::DeviceKind::from(capabilities.device).into(),
            data_plane_address: capabilities.data_plane_address,
            numerics: capabilities.numerics,
            muster_version: capabilities.muster_version,
            gpu: capabilities.gpu.map(Into::into),
        }
    }
}

impl From<Gpu> for wire::Gpu {
    fn from(gpu: Gpu) -> Self {
        Self {
            name: gpu.name,
            memory_bytes: gpu.memory_bytes,
            compute_major: gpu.compute_major,
            compute_minor: gpu.compute_minor,
            pci_bus_id: gpu.pci_bus_id,
            ordinal: gpu.ordinal,
            visible: gpu.visible,
            direct_peers: gpu.direct_peers,
        }
    }
}

impl From<wire::Gpu> for Gpu {
    fn from(gpu: wire::Gpu) -> Self {
        Self {
            name: gpu.name,
            memory_bytes: gpu.memory_bytes,
            compute_major: gpu.compute_major,
            compute_minor: gpu.compute_minor,
            pci_bus_id: gpu.pci_bus_id,
            ordinal: gpu.ordinal,
            visible: gpu.visible,
            direct_peers: gpu.direct_peers,
        }
    }
}

impl TryFrom<wire::Capabilities> for Capabilities {
    type Error = Error;

    fn try_from(capabilities: wire::Capabilities) -> Result<Self, Error> {
        let device = device_from(capabilities.device, "Capabilities")?;
        Ok(Self {
            name: capabilities.name,
            host: capabilities.host,
            cpu_threads: capabilities.cpu_threads,
            memory_bytes: capabilities.memory_bytes,
            device: device.ok_or(missing("Capabilities", "device"))?,
            data_plane_address: capabilities.data_plane_address,
            numerics: capabilities.numerics,
            muster_version: capabilities.muster_version,
            gpu: capabilities.gpu.map(Into::into),
        })
    }
}

impl From<RankState> for wire::RankState {
    fn from(state: RankState) -> Self {
        let stage = match state.stage {
            RankStage::Loading => wire::RankStage::Loading,
            RankStage::Ready => wire::RankStage::Ready,
            RankStage::Training => wire::RankStage::Training,
            RankStage::Stopping => wire::RankStage::Stopping,
        };
        let timing = state.timing.map(|timing| wire::StepTiming {
            step: timing.step.0,
            own: Some(duration(timing.own)),
            breakdown: timing.breakdown.as_deref().map(Into::into),
        });
        Self { fence: Some(state.fence.into()), stage: stage.into(), timing }
    }
}

impl TryFrom<wire::RankState> for RankState {
    type Error = Error;

    fn try_from(state: wire::RankState) -> Result<Self, Error> {
        const MESSAGE: &str = "RankState";
        let stage = match wire::RankStage::try_from(state.stage) {
            Ok(wire::RankStage::Loading) => RankStage::Loading,
            Ok(wire::RankStage::Ready) => RankStage::Ready,
            Ok(wire::RankStage::Training) => RankStage::Training,
            Ok(wire::RankStage::Stopping) => RankStage::Stopping,
            Ok(wire::RankStage::Unspecified) => return Err(missing(MESSAGE, "stage")),
            Err(_) => {
                return Err(Error::UnknownValue { message: MESSAGE, field: "stage", value: state.stage });
            }
        };
        let timing = state.timing.map(|timing| {
            let own = duration_from(timing.own, "StepTiming", "own")?;
            let breakdown = timing.breakdown.map(TryInto::try_into).transpose()?.map(Box::new);
            Ok(StepTiming { step: Step(timing.step), own, breakdown })
        });
        let fence = state.fence.ok_or(missing(MESSAGE, "fence"))?.into();
        Ok(Self { fence, stage, timing: timing.transpose()? })
    }
}
