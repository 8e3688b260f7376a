//! What is printed: a line a case, and what all of them come to.

use serde_json::{Value, json};

use crate::runs::Case;

/// Peak memory counts for ranks that hold at least so much.
const LARGE: f64 = 512.0 * 1024.0 * 1024.0;

/// A case in a line.
pub(crate) fn line(case: &Case) -> String {
    let memory = case.memory.iter().map(|(forecast, measured)| {
        format!("{:.0}/{:.0}", forecast / f64::from(1 << 20), measured / f64::from(1 << 20))
    });
    let phase = |name: &str| {
        let pair = &case.scored["phases"][name];
        format!(
            "{:.2}/{:.2}",
            pair["forecast"].as_f64().unwrap_or(0.0),
            pair["measured"].as_f64().unwrap_or(0.0)
        )
    };
    let phases = [
        "input_exchange",
        "lookup",
        "forward_exchange",
        "dense",
        "loss",
        "backward_exchange",
        "table_update",
        "all_reduce",
        "rest",
    ];
    format!(
        "{:<18} {} {:<28} {:>9.3} ms forecast {:>9.3} ms measured {:>+6.1} %, median {:>9.3} {:>+6.1} % noise {:>4.1} %  MiB {}  {}",
        case.job,
        case.workers,
        case.plan,
        case.forecast,
        case.quiet(),
        case.error() * 100.0,
        case.median(),
        case.error_of_median() * 100.0,
        case.noise() * 100.0,
        memory.collect::<Vec<_>>().join(" "),
        phases.map(|name| format!("{} {}", name, phase(name))).join("  "),
    )
}

/// What all cases come to.
pub(crate) struct Summary {
    pub(crate) text: String,
    pub(crate) json: Value,
}

pub(crate) fn summary(cases: &[Case], choices: &[Vec<Case>]) -> Summary {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let absolute = |error: fn(&Case) -> f64| {
        let errors: Vec<f64> = cases.iter().map(|case| error(case).abs()).collect();
        (mean(&errors), errors.iter().copied().fold(0.0, f64::max))
    };
    let (error, worst) = absolute(Case::error);
    let of_median = absolute(Case::error_of_median);
    let of_fastest = absolute(Case::error_of_fastest);
    let bias = mean(&cases.iter().map(Case::error).collect::<Vec<_>>());
    let noise = mean(&cases.iter().chain(choices.iter().flatten()).map(Case::noise).collect::<Vec<_>>());
    let within: Vec<f64> = cases.iter().chain(choices.iter().flatten()).map(Case::repeats_within).collect();
    let within = mean(&within);
    let picked = choices.iter().filter(|plans| is_picked(plans, within)).count();
    let ranks = cases.iter().chain(choices.iter().flatten()).flat_map(|case| &case.memory);
    let memory: Vec<f64> =
        ranks.filter(|rank| rank.1 >= LARGE).map(|(forecast, measured)| forecast / measured - 1.0).collect();
    let (least, most) =
        memory.iter().fold((0.0_f64, 0.0_f64), |(least, most), error| (least.min(*error), most.max(*error)));
    let text = format!(
        "\nstep time of {} cases against the faster half of the runs: mean absolute error {:.1} %, worst {:.1} %, bias {:+.1} %; \
         these differ by {:.1} %\n\
         against the fastest run: {:.1} %, worst {:.1} %; against the median run: {:.1} %, worst {:.1} %; runs differ from it \
         by {:.1} %\n\
         fastest of forced plans picked in {picked} of {} cases\n\
         peak memory of {} ranks above 512 MiB: {:+.1} % to {:+.1} %",
        cases.len(),
        error * 100.0,
        worst * 100.0,
        bias * 100.0,
        within * 100.0,
        of_fastest.0 * 100.0,
        of_fastest.1 * 100.0,
        of_median.0 * 100.0,
        of_median.1 * 100.0,
        noise * 100.0,
        choices.len(),
        memory.len(),
        least * 100.0,
        most * 100.0,
    );
    let json = json!({
        "cases": cases.len(), "mean_absolute_error": error, "worst": worst, "bias": bias, "noise_floor": noise,
        "mean_absolute_error_of_median": of_median.0, "worst_of_median": of_median.1,
        "mean_absolute_error_of_fastest": of_fastest.0, "worst_of_fastest": of_fastest.1, "repeats_within": within,
        "choices": choices.len(), "picked": picked, "large_ranks": memory.len(), "memory_least": least, "memory_most": most,
    });
    Summary { text, json }
}

/// Whether the plan that is forecast to be fastest is the fastest, or within the noise floor of it.
fn is_picked(plans: &[Case], within: f64) -> bool {
    let chosen = plans.iter().min_by(|a, b| a.forecast.total_cmp(&b.forecast));
    let fastest = plans.iter().map(Case::quiet).fold(f64::INFINITY, f64::min);
    chosen.is_some_and(|chosen| chosen.quiet() <= fastest * (1.0 + within.max(chosen.repeats_within())))
}
