//! Conversions of where a job stands among those that want workers.

use super::Error;
use crate::control::{Class, Queueing};
use crate::wire;

impl From<&Queueing> for wire::Queueing {
    fn from(queueing: &Queueing) -> Self {
        let class = match queueing.class {
            Class::Manual => wire::JobClass::Manual,
            Class::Scheduled => wire::JobClass::Scheduled,
            Class::Backfill => wire::JobClass::Backfill,
        };
        Self { class: class.into(), team: queueing.team.clone(), start_workers: queueing.start_workers }
    }
}

/// Of a message that may come from a client that knows nothing of it.
pub(super) fn queueing_from(queueing: Option<wire::Queueing>) -> Result<Queueing, Error> {
    let Some(wire::Queueing { class, team, start_workers }) = queueing else {
        return Ok(Queueing::default());
    };
    let class = match wire::JobClass::try_from(class) {
        Ok(wire::JobClass::Unspecified | wire::JobClass::Manual) => Class::Manual,
        Ok(wire::JobClass::Scheduled) => Class::Scheduled,
        Ok(wire::JobClass::Backfill) => Class::Backfill,
        Err(_) => return Err(Error::UnknownValue { message: "Queueing", field: "class", value: class }),
    };
    Ok(Queueing { class, team, start_workers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_keeps_its_place_over_the_wire() {
        for class in Class::ALL {
            let queueing = Queueing { class, team: "ads".into(), start_workers: Some(2) };
            assert_eq!(queueing_from(Some((&queueing).into())), Ok(queueing));
        }
        assert_eq!(queueing_from(None), Ok(Queueing::default()));
        let unknown = wire::Queueing { class: 9, ..wire::Queueing::default() };
        assert!(matches!(queueing_from(Some(unknown)), Err(Error::UnknownValue { value: 9, .. })));
    }
}
