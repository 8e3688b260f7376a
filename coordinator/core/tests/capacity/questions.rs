//! Whole questions: answers, the inverse, a fleet, a table that does not fit.

use muster_core::capacity::{Unanswered, answer, fleet, inverse};
use muster_core::cost::Phase;
use muster_proto::capacity::CapacitySpec;
use muster_proto::config;

const QUESTION: &str = "name = \"q\"\n[[pools]]\nname = \"p\"\ndevice = \"h100_sxm\"\nnodes = 8\nprice_per_device_hour = 2.5\n\
     [[tables]]\nname = \"item\"\nrows = 20000000\ndim = 128\npooling = [50.0]\npooled = false\n\
     [dense]\nlstm = [{ input = 128, hidden = 512, events = 50.0 }]\n\
     softmax = { positions = 50.0, candidates = 4096, dim = 512 }\n\
     [run]\nbatch = 16384\nsamples = 20000000000\ndeadline = \"6h\"\n\
     [[fleet]]\nname = \"nightly\"\ncount = 5\nperiod = \"24h\"\nsamples = 100000000\nnodes = 1\ndeadline = \"6h\"\n";

fn question(sets: &[&str]) -> CapacitySpec {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    config::parse(QUESTION, "q.toml", &sets).unwrap()
}

#[test]
fn time_cost_and_goodput_follow_from_the_step() {
    let spec = question(&[]);
    let answer = answer(&spec, &spec.pools[0], 2).unwrap();
    assert_eq!(answer.devices, 16);
    assert_eq!(answer.steps, (20_000_000_000_f64 / 16_384.0).ceil());
    assert!((answer.ideal - answer.steps * answer.step.seconds).abs() < 1e-6);
    assert!((answer.cost.unwrap() - 2.5 * 16.0 * answer.seconds / 3600.0).abs() < 1e-9);
    assert!(answer.goodput < 1.0 && answer.goodput > 0.9, "{}", answer.goodput);
    assert!((answer.simulated.mean / answer.seconds - 1.0).abs() < 0.05);
}

#[test]
fn a_calibrated_phase_takes_its_measured_time_and_flags_what_was_not_measured() {
    let base = question(&[]);
    let plain = answer(&base, &base.pools[0], 1).unwrap().step;
    let dense = plain.phases.get(Phase::Dense);
    let at = |factor: f64| format!("{}us", (dense * factor * 1e6).round());
    let points = |low: f64| {
        format!("[[{:?}, {:?}], [{:?}, {:?}]]", at(low), at(low * 2.0), at(low * 4.0), at(low * 8.0))
    };
    let measured = |low: f64| {
        let calibration = format!("calibration=[{{ phase = \"dense\", points = {} }}]", points(low));
        let spec = question(&[&calibration]);
        answer(&spec, &spec.pools[0], 1).unwrap().step
    };
    // The points say that dense layers take twice of what the formula gives.
    let within = measured(0.5);
    assert!((within.phases.get(Phase::Dense) / dense - 2.0).abs() < 0.01 && !within.extrapolated);
    assert!(measured(2.0).extrapolated && !plain.extrapolated);
}

#[test]
fn the_fewest_nodes_keep_the_deadline_and_one_less_does_not() {
    let base = question(&[]);
    let alone = answer(&base, &base.pools[0], 1).unwrap().simulated.p90;
    let spec = question(&[&format!("run.deadline=\"{}s\"", (alone * 0.7) as u64)]);
    let fewest = inverse::fewest(&spec, &spec.pools[0]).unwrap();
    assert!(fewest.nodes > 1 && fewest.in_time == Some(true));
    assert_eq!(answer(&spec, &spec.pools[0], fewest.nodes - 1).unwrap().in_time, Some(false));
    let never = question(&["run.deadline=\"1s\""]);
    assert!(inverse::fewest(&never, &never.pools[0]).is_none());
}

#[test]
fn the_fewest_of_many_nodes_are_the_fewest() {
    let base = question(&["pools.0.nodes=128", "run.batch=1048576"]);
    let at = |nodes: u32| answer(&base, &base.pools[0], nodes).unwrap().simulated.p90;
    let spec = question(&[
        "pools.0.nodes=128",
        "run.batch=1048576",
        &format!("run.deadline=\"{}ms\"", (at(98) * 1e3).ceil()),
    ]);
    let fewest = inverse::fewest(&spec, &spec.pools[0]).unwrap();
    assert!(fewest.nodes > 64 && fewest.nodes <= 98, "{}", fewest.nodes);
    let in_time = |nodes: u32| answer(&spec, &spec.pools[0], nodes).ok().and_then(|answer| answer.in_time);
    assert_eq!(in_time(fewest.nodes), Some(true));
    for nodes in 1..fewest.nodes {
        assert_ne!(in_time(nodes), Some(true), "{nodes} nodes do, {} were said", fewest.nodes);
    }
}

#[test]
fn failures_that_come_before_work_is_kept_are_told_instead_of_simulated_for_ever() {
    for (sets, field) in [
        (["pools.0.mtbf_per_device=\"1h\"", "pools.0.nodes=1024"], "pools.0.mtbf_per_device"),
        (["pools.0.mtbf_per_device=\"8s\"", "pools.0.nodes=1"], "pools.0.mtbf_per_device"),
        (["pools.0.restart=\"100000h\"", "pools.0.nodes=1024"], "pools.0.restart"),
        (["run.checkpoint=\"100000h\"", "pools.0.nodes=8"], "run.checkpoint"),
    ] {
        let spec = question(&sets);
        let error = answer(&spec, &spec.pools[0], spec.pools[0].nodes).unwrap_err();
        assert!(matches!(error, Unanswered::NoProgress { .. }), "{sets:?}: {error}");
        assert_eq!((error.field(0).as_deref(), error.no_room()), (Some(field), None));
        assert!(error.to_string().contains("makes no progress"), "{error}");
    }
}

#[test]
fn a_question_without_tables_and_dense_part_is_told_that_there_is_nothing_to_do() {
    let spec = question(&["tables=[]", "dense={}", "run.software=tensor_flow", "pools.0.devices_per_node=1"]);
    let error = answer(&spec, &spec.pools[0], 1).unwrap_err();
    assert_eq!((error.field(0).as_deref(), &error), (Some("tables"), &Unanswered::Nothing));
}

#[test]
fn energy_counts_against_the_budget() {
    let sets = ["pools.0.price_per_device_hour=0.0", "run.budget=1.0"];
    let free = question(&sets);
    assert_eq!(answer(&free, &free.pools[0], 1).unwrap().in_budget, Some(true));
    let paid = question(&[sets[0], sets[1], "pools.0.price_per_kwh=10.0"]);
    let paid = answer(&paid, &paid.pools[0], 1).unwrap();
    assert!(paid.energy_cost.unwrap() > 1.0 && paid.in_budget == Some(false));
}

#[test]
fn a_demand_that_cannot_be_is_no_lack_of_memory() {
    let spec = question(&["tables.0.layouts=[\"grid\"]"]);
    let error = answer(&spec, &spec.pools[0], 1).unwrap_err();
    assert_eq!(error.no_room(), None);
    assert!(error.to_string().contains("table item: "), "{error}");
}

#[test]
fn a_slow_schedule_counts_beside_many_quick_ones() {
    let hourly = "{ name = \"h\", count = 2000, period = \"1h\", samples = 1, nodes = 1, deadline = \"6h\" }";
    let monthly = "{ name = \"m\", period = \"720h\", samples = 20000000000, nodes = 1, deadline = \"1s\" }";
    let spec = question(&[&format!("fleet=[{hourly}, {monthly}]")]);
    let retrainings = fleet::retrainings(&spec, &spec.pools[0]).unwrap();
    let load = fleet::load(&retrainings, 64, 1).unwrap();
    // One of 1,440,001 starts is the slow one, and it cannot be in time.
    assert!(load.late > 0.0 && load.late < 1e-5, "{load:?}");
    assert!(load.worst > retrainings[1].seconds * 0.5, "{load:?}");
}

#[test]
fn a_fleet_that_no_pool_can_serve_is_told_at_once() {
    let spec = question(&["fleet.0.count=10000", "fleet.0.nodes=8", "fleet.0.deadline=\"1s\""]);
    let retrainings = fleet::retrainings(&spec, &spec.pools[0]).unwrap();
    assert_eq!(fleet::smallest(&retrainings, 0.01, 1), None);
}

#[test]
fn a_fleet_of_more_retrainings_is_fuller_and_its_smallest_pool_keeps_them_in_time() {
    let spec = question(&[]);
    let few = fleet::retrainings(&spec, &spec.pools[0]).unwrap();
    let spec = question(&["fleet.0.count=60"]);
    let many = fleet::retrainings(&spec, &spec.pools[0]).unwrap();
    let (few, crowded) = (fleet::load(&few, 4, 1).unwrap(), fleet::load(&many, 4, 1).unwrap());
    assert!((crowded.utilization / few.utilization - 12.0).abs() < 1e-9);
    let smallest = fleet::smallest(&many, 0.01, 1).unwrap();
    assert!(smallest.late <= 0.01 && smallest.utilization < 1.0, "{smallest:?}");
    if smallest.nodes > 1 {
        assert!(fleet::load(&many, smallest.nodes - 1, 1).unwrap().late > 0.01);
    }
    assert_eq!(fleet::load(&many, 0, 1), None);
}

#[test]
fn a_table_that_fits_on_no_device_is_named_with_the_bytes_missing() {
    let spec = question(&["tables.0.rows=120000000", "tables.0.optimizer=adam"]);
    let error = answer(&spec, &spec.pools[0], 1).map(|answer| answer.memory);
    // 120 M rows of 128 f32 with two moments are 184 GB, 23 GB a device when spread over eight.
    assert!(error.is_ok(), "{error:?}");
    let spec = question(&["tables.0.rows=700000000", "tables.0.optimizer=adam"]);
    let error = answer(&spec, &spec.pools[0], 1).unwrap_err();
    let (table, missing) = error.no_room().unwrap();
    assert!(table == "item" && missing > 50e9, "{error}");
    assert!(error.to_string().contains("table item does not fit"), "{error}");
}

#[test]
fn a_table_larger_than_all_devices_lies_on_the_hosts_with_its_hottest_rows_on_the_devices() {
    const ROWS: &str = "tables.0.rows=2000000000";
    let whole = question(&["tables.0.rows=20000000"]);
    let whole = answer(&whole, &whole.pools[0], 1).unwrap();
    assert_eq!(whole.host, 0.0);
    let sets = |cache: &str| {
        let cache = format!("tables.0.device_cache=\"{cache}\"");
        question(&[ROWS, &cache, "pools.0.host_memory=\"4TiB\""])
    };
    let at = |cache: &str| {
        let spec = sets(cache);
        answer(&spec, &spec.pools[0], 1).unwrap()
    };
    let (small, large) = (at("1GiB"), at("16GiB"));
    let bytes = question(&[ROWS, "pools.0.nodes=512"]).tables[0].bytes();
    assert!((small.host / bytes - 1.0).abs() < 1e-9, "all rows are on the host: {} {bytes}", small.host);
    assert!(small.memory < large.memory && large.memory < small.usable);
    assert!(small.step.seconds > large.step.seconds, "{small:?} {large:?}");
    assert!(large.step.seconds > whole.step.seconds, "rows from a host take longer");
}

#[test]
fn a_host_that_is_too_small_is_named_with_its_table_and_one_of_unknown_size_is_refused() {
    let hosted = ["tables.0.device_cache=\"1GiB\"", "pools.0.host_memory=\"8GiB\""];
    let spec = question(&hosted);
    let refused = answer(&spec, &spec.pools[0], 1).unwrap_err();
    let lacks = spec.tables[0].bytes() - f64::from(8_u32 << 10) * 1048576.0;
    assert!((refused.no_room().unwrap().1 / lacks - 1.0).abs() < 1e-9, "{refused}");
    assert!(refused.to_string().contains("item") && refused.to_string().contains("host_memory"), "{refused}");
    let sets = [hosted[0].to_owned()];
    let unknown = config::parse::<CapacitySpec>(QUESTION, "q.toml", &sets).unwrap_err().to_string();
    assert!(unknown.contains("tables.0.device_cache") && unknown.contains("host_memory"), "{unknown}");
}
