//! Forecasts of what others measured, from the catalogue and six constants alone.

use std::path::PathBuf;

use muster_core::capacity::measured::{self, judge};
use muster_core::capacity::scores::Scores;
use muster_core::cost::Constants;
use muster_proto::capacity::tables;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("MUSTER_DATA").map(|data| PathBuf::from(data).join("planner"));
    if folder.is_none() {
        assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "MUSTER_DATA is not set");
        println!("skipped: MUSTER_DATA is not set");
    }
    folder
}

fn both(constants: Constants) -> Option<[Scores; 2]> {
    let folder = folder()?;
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let list = tables::from_csv(&read("mlperf_dlrm_dcnv2_26.csv")).unwrap();
    let mlperf = measured::mlperf(&read("mlperf_dlrm_dcnv2_measured.csv"), &list).unwrap();
    let nv = measured::nv_synth(&read("measured_nv_synth_a100.json"), |model| {
        tables::from_csv(&read(&format!("nv_synth_{model}.csv"))).ok()
    });
    let (rows, mlperf) = judge(&mlperf, constants);
    assert_eq!(rows.len(), 26, "no row is dropped");
    assert_eq!(rows.iter().filter(|row| row.forecast.is_err()).count(), 6);
    Some([mlperf.unwrap(), judge(&nv.unwrap(), constants).1.unwrap()])
}

#[test]
fn mlperf_on_4_to_128_gpus_and_nvidias_synthetic_models_are_forecast_within_15_percent() {
    let Some([mlperf, nv]) = both(Constants::default()) else { return };
    assert_eq!((mlperf.points, nv.points), (20, 7));
    assert!(mlperf.mape < 0.15, "{mlperf:?}");
    assert!(nv.mape < 0.15, "{nv:?}");
    assert!(nv.tau > 0.7, "{nv:?}");
}

#[test]
fn a_fifth_more_or_less_of_any_constant_does_not_undo_the_forecast() {
    let middle = Constants::default();
    for factor in [0.8, 1.2] {
        let moved = [
            Constants { dense_share: middle.dense_share * factor, ..middle },
            Constants { row_share: middle.row_share * factor, ..middle },
            Constants { network_share: middle.network_share * factor, ..middle },
            Constants { fused_step: middle.fused_step * factor, ..middle },
            Constants { per_feature: middle.per_feature * factor, ..middle },
            Constants { coordination: middle.coordination * factor, ..middle },
        ];
        for constants in moved {
            let Some([mlperf, nv]) = both(constants) else { return };
            assert!(mlperf.mape < 0.25 && nv.mape < 0.25, "{constants:?}: {} {}", mlperf.mape, nv.mape);
        }
    }
}
