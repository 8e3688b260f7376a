//! Which colour stands for which phase.

use std::fmt::Write as _;

use muster_core::cost::Phase;

/// By phase, in their order.
pub(super) const COLORS: [&str; 8] =
    ["#94a3b8", "#2563eb", "#0891b2", "#d97706", "#be185d", "#7c3aed", "#059669", "#dc2626"];

/// Width of a letter of size 9, rather too wide than too narrow: fonts differ from browser to browser.
const LETTER: usize = 5;
/// A square, and what is left free before and after its name.
const SQUARE: usize = 9;
const FREE: [usize; 2] = [3, 11];

/// Adds a row with a square and the name of each phase, each as wide as its name is long.
pub(super) fn add(svg: &mut String, phases: impl IntoIterator<Item = Phase>, top: usize) {
    let mut x = 10;
    for phase in phases {
        let (name, color) = (phase.name(), COLORS[phase as usize]);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{top}\" width=\"{SQUARE}\" height=\"{SQUARE}\" fill=\"{color}\"/>"
        );
        x += SQUARE + FREE[0];
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\" font-size=\"9\">{name}</text>", top + 8);
        x += LETTER * name.len() + FREE[1];
    }
}
