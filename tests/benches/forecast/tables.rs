//! What is printed: a line a case, and what all of them come to.

use serde_json::{Value, json};

use crate::runs::Case;

/// Peak memory counts for ranks that hold at least so much.
const LARGE: f64 = 512.0 * 1024.0 * 1024.0;

/// What a forecast's error is told against: its name, the end of its keys, the error.
type Reference = (&'static str, &'static str, fn(&Case) -> f64);

const REFERENCES: [Reference; 4] = [
    ("the median run", "", Case::error),
    ("the median run with steal time", "_with_steal", Case::error_with_steal),
    ("the faster half of the runs", "_of_faster_half", Case::error_of_faster),
    ("the fastest run", "_of_fastest", Case::error_of_fastest),
];

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
        "{:<18} {} {:<28} {:>9.3} ms forecast {:>9.3} ms measured {:>+6.1} %, with steal {:>+6.1} %, noise {:>4.1} %  MiB {}  {}",
        case.job,
        case.workers,
        case.plan,
        case.forecast,
        case.median(),
        case.error() * 100.0,
        case.error_with_steal() * 100.0,
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
    let mut json = json!({ "cases": cases.len(), "choices": choices.len() });
    let (mut against, mut biases) = (String::new(), Vec::new());
    for (name, key, error) in REFERENCES {
        let errors: Vec<f64> = cases.iter().map(error).collect();
        let absolute: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
        let (error, worst, bias) =
            (mean(&absolute), absolute.iter().copied().fold(0.0, f64::max), mean(&errors));
        let (mean, most) = (percent(error), percent(worst));
        against.push_str(&format!("against {name}: mean {mean}, worst {most}, bias {}\n", signed(bias)));
        json[format!("mean_absolute_error{key}")] = json!(error);
        json[format!("worst{key}")] = json!(worst);
        biases.push(bias);
    }
    let all = || cases.iter().chain(choices.iter().flatten());
    let noise = mean(&all().map(Case::noise).collect::<Vec<_>>());
    let noise_with_steal = mean(&all().map(Case::noise_with_steal).collect::<Vec<_>>());
    let picked = [noise, 0.05, 0.0].map(|ties| choices.iter().filter(|plans| is_picked(plans, ties)).count());
    let ranks = cases.iter().chain(choices.iter().flatten()).flat_map(|case| &case.memory);
    let memory: Vec<f64> =
        ranks.filter(|rank| rank.1 >= LARGE).map(|(forecast, measured)| forecast / measured - 1.0).collect();
    let (least, most) =
        memory.iter().fold((0.0_f64, 0.0_f64), |(least, most), error| (least.min(*error), most.max(*error)));
    let text = format!(
        "\nstep time of {} cases, absolute error\n{against}runs of a case differ from their median by {}, with steal time by {}\n\
         fastest of forced plans picked in {} of {} cases; with ties within 5 % {}, without ties {}\n\
         peak memory of {} ranks above 512 MiB: {} to {}",
        cases.len(),
        percent(noise),
        percent(noise_with_steal),
        picked[0],
        choices.len(),
        picked[1],
        picked[2],
        memory.len(),
        signed(least),
        signed(most),
    );
    for (key, value) in [
        ("biases", json!(biases)),
        ("noise_floor", json!(noise)),
        ("noise_with_steal", json!(noise_with_steal)),
        ("picked", json!(picked)),
        ("large_ranks", json!(memory.len())),
        ("memory_least", json!(least)),
        ("memory_most", json!(most)),
    ] {
        json[key] = value;
    }
    Summary { text, json }
}

fn percent(value: f64) -> String {
    format!("{:.1} %", value * 100.0)
}

fn signed(value: f64) -> String {
    format!("{:+.1} %", value * 100.0)
}

/// Whether the plan that is forecast to be fastest is the fastest, or within a share of it.
fn is_picked(plans: &[Case], ties: f64) -> bool {
    let chosen = plans.iter().min_by(|a, b| a.forecast.total_cmp(&b.forecast));
    let fastest = plans.iter().map(Case::median).fold(f64::INFINITY, f64::min);
    chosen.is_some_and(|chosen| chosen.median() <= fastest * (1.0 + ties))
}
