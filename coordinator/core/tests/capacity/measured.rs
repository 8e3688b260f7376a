//! Forecasts of what others measured, from the catalogue and six constants alone.

use std::path::PathBuf;

use muster_core::capacity::measured::{self, judge};
use muster_core::capacity::place;
use muster_core::capacity::scores::Scores;
use muster_core::cost::{Cluster, Constants, Layout, Workload};
use muster_proto::capacity::{CapacitySpec, DenseSpec, TableSpec, device, tables};

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
        tables::from_csv(&read(&format!("nv_synth_{model}.csv"))).map_err(|error| error.to_string())
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

#[test]
fn tables_above_the_threshold_are_dealt_in_columns_and_whole_once_they_meet() {
    let dense = DenseSpec { mlps: vec![vec![128, 1]], ..DenseSpec::default() };
    let text = "name = \"q\"\n[[pools]]\nname = \"p\"\ndevice = \"a100_sxm\"\nnodes = 2\n[run]\nbatch = 65536\nsamples = 1\n\
                software = \"tensor_flow\"\n";
    let spec: CapacitySpec = muster_proto::config::parse(text, "q.toml", &[]).unwrap();
    let device = *device::device("a100_sxm").unwrap();
    let place = |rows: u64, dim: u32, ranks: u32| {
        let tables = [TableSpec::new("t", rows, dim, vec![1.0])];
        let workload = Workload::new(&tables, &dense, &spec.run, Constants::default());
        place(&workload, &Cluster::new(device, ranks.div_ceil(8), ranks.min(8))).unwrap()
    };
    // 1,342,177,280 values are the most of a table that is not cut.
    assert_eq!(place(10_485_760, 128, 8).tables[0].0, Layout::TableWise);
    assert_eq!(place(10_485_761, 128, 8).tables[0], (Layout::ColumnWise(2), vec![0, 1]));
    let sixteen = place(100_000_000, 128, 16);
    assert_eq!(sixteen.tables[0], (Layout::ColumnWise(16), (0..16).collect()));
    // Never more blocks than ranks or columns.
    assert_eq!(place(100_000_000, 128, 4).tables[0].0, Layout::ColumnWise(4));
    assert_eq!(place(1_000_000_000, 4, 8).tables[0].0, Layout::ColumnWise(4));
    // All bytes lie somewhere, once.
    let bytes: f64 = sixteen.memory.iter().map(|memory| memory - place(1, 1, 16).memory[15]).sum();
    let exchanged = 2.0 * 65_536.0 * 128.0 * 4.0 + 16.0 * 65_536.0 * 8.0;
    assert!(
        (bytes / (TableSpec::new("t", 100_000_000, 128, vec![1.0]).bytes() + exchanged) - 1.0).abs() < 1e-6,
        "{bytes}"
    );
}

#[test]
fn nvidias_larger_models_have_a_forecast_where_they_were_run() {
    let Some(folder) = folder() else { return };
    // The two published steps of the model `medium` that the notes on the field have.
    let text = r#"{"system": "DGX-A100 (80GB), global batch 65536", "measured": {"medium": {"8": 63.4, "128": 27.3}},
        "dense": {"medium": {"mlp": [1024, 512, 256, 128], "num_numerical": 25, "interact_stride": 7}}}"#;
    let points = measured::nv_synth(text, |model| {
        let list = std::fs::read_to_string(folder.join(format!("nv_synth_{model}.csv"))).unwrap();
        tables::from_csv(&list).map_err(|error| error.to_string())
    });
    let (rows, scores) = judge(&points.unwrap(), Constants::default());
    assert!(rows.iter().all(|row| row.forecast.is_ok()), "{rows:?}");
    let scores = scores.unwrap();
    // The constants were set without these two.
    assert!(scores.points == 2 && scores.mape < 0.2, "{rows:?} {scores:?}");
}
