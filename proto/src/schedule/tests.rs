//! Schedule files as people write them.

use super::{ColdStart, GatesSpec, Rule, ScheduleSpec};
use crate::config::{Error, parse};

const SHOP: &str = "name = \"shop\"\nmodel = \"shop\"\ndataset = \"dataset.toml\"\njob = \"job.toml\"\n\
                    workspace = \"/shared/shop\"\ncron = \"@daily\"\n";

fn schedule(gates: &str) -> Result<ScheduleSpec, Error> {
    parse(&format!("{SHOP}[gates]\n{gates}"), "schedule.toml", &[])
}

fn problems(gates: &str) -> String {
    schedule(gates).unwrap_err().to_string()
}

#[test]
fn a_schedule_without_gates_asks_for_none() {
    let spec: ScheduleSpec = parse(SHOP, "schedule.toml", &[]).unwrap();
    assert_eq!(spec.gates, None);
}

#[test]
fn gates_read_back_as_they_were_written() {
    let text = "metric = \"HR@10\"\ncold_start = \"approval\"\n[gates.at_least]\n\"HR@10\" = 0.1\n[gates.relative]\n\
                rule = \"not_worse\"\nmargin = 0.002\n[[gates.slices]]\nby = \"category\"\nmax_drop = 0.2\n[gates.sanity]\n\
                max_norm_ratio = 3.0\n[gates.budget]\nmax_size = \"2 GiB\"\nmax_latency = \"50ms\"\n[gates.approval]\n\
                expires = \"6h\"\n";
    let spec = schedule(text).unwrap();
    let again: ScheduleSpec = parse(&toml::to_string(&spec).unwrap(), "again.toml", &[]).unwrap();
    assert_eq!(spec, again);
    let gates = spec.gates.unwrap();
    assert_eq!(gates.relative.unwrap().rule, Rule::NotWorse);
    assert_eq!((gates.cold_start, gates.slices[0].min_users), (ColdStart::Approval, 100));
}

#[test]
fn each_rule_of_gates_that_is_broken_is_named() {
    let text = "cold_start = \"pass\"\n[gates.at_least]\nHR = 0.5\n[gates.at_most]\nHR = 0.4\n[gates.relative]\n\
                rule = \"not_worse\"\nlevel = 0.001\npower = 0.2\nmin_users = 3\n[[gates.slices]]\nby = \"new_users\"\n\
                [gates.sanity]\nmin_coverage = 1.5\n[gates.budget]\nmax_latency = \"0s\"\n";
    let found = problems(text);
    for field in [
        "gates.at_least.HR",
        "gates.relative.margin",
        "gates.relative.power",
        "gates.relative.min_users",
        "gates.relative.resamples: must be at least 10000",
        "gates.slices.0.floor",
        "gates.sanity.min_coverage",
        "gates.budget.max_latency",
    ] {
        assert!(found.contains(field), "{field} is not in:\n{found}");
    }
    assert!(problems("rellative = 3\n").contains("did you mean `relative`"));
}

#[test]
fn a_comparison_with_a_champion_says_what_is_asked_of_the_first_model() {
    assert!(problems("[gates.relative]\n").contains("nothing would be asked of the first model"));
    assert!(schedule("[gates.relative]\n[gates.at_least]\n\"NDCG@10\" = 0.01\n").is_ok());
    assert!(problems("cold_start = \"approval\"\n").contains("there is no [gates.approval]"));
    let gates = schedule("cold_start = \"pass\"\n[gates.relative]\n").unwrap().gates.unwrap();
    assert_eq!(
        gates,
        GatesSpec { cold_start: ColdStart::Pass, relative: gates.relative.clone(), ..GatesSpec::default() }
    );
}
