//! What each rank does in a step, as SVG: a bar a rank, its phases one after the other.

use std::fmt::Write as _;

use super::legend::{self, COLORS};
use super::planned::Planned;
use super::question::spoken;
use crate::html::escape;
use muster_core::cost::{Phase, Phases};

const LEFT: f64 = 90.0;
const WIDTH: f64 = 520.0;
const BAR: f64 = 16.0;
const TOP: f64 = 66.0;

/// The chart; neighbouring ranks that do the same share a bar.
#[must_use]
pub fn render(planned: &Planned) -> String {
    let ranks: Vec<(usize, &Phases)> = planned.ranks.iter().enumerate().collect();
    let bars: Vec<&[(usize, &Phases)]> = ranks.chunk_by(|a, b| a.1 == b.1).collect();
    let longest = planned.ranks.iter().map(Phases::sum).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP + 22.0 * bars.len() as f64 + 12.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"740\" height=\"{height}\" viewBox=\"0 0 740 {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#374151\">\n<rect width=\"740\" height=\"{height}\" \
         fill=\"white\"/>\n<text x=\"10\" y=\"20\" font-size=\"15\" font-weight=\"600\">A step by rank, {}</text>\n",
        escape(&planned.title())
    );
    legend::add(&mut svg, planned.phases(), 34);
    for (row, alike) in bars.iter().enumerate() {
        let y = TOP + 22.0 * row as f64;
        bar(&mut svg, alike, y, longest);
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, alike: &[(usize, &Phases)], y: f64, longest: f64) {
    let (first, last) = (alike[0].0, alike[alike.len() - 1].0);
    let name = if first == last { format!("rank {first}") } else { format!("ranks {first}-{last}") };
    let text = y + BAR - 4.0;
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{text:.2}\" text-anchor=\"end\">{name}</text>", LEFT - 8.0);
    let mut x = LEFT;
    for phase in Phase::ALL {
        let seconds = alike[0].1.get(phase);
        if seconds > 0.0 {
            let width = WIDTH * seconds / longest;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{BAR}\" fill=\"{}\"><title>{} {}</title></rect>",
                COLORS[phase as usize],
                phase.name(),
                spoken(seconds)
            );
            x += width;
        }
    }
    let _ = writeln!(svg, "<text x=\"{:.2}\" y=\"{text:.2}\">{}</text>", x + 6.0, spoken(alike[0].1.sum()));
}
