//! Line charts as SVG: axes with round ticks, a faint grid, one colour a series, a legend.
//!
//! Text only, no dependency; coordinates have two decimals, so equal data give equal bytes.

use std::fmt::Write;

use crate::html::escape;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const X_END: f64 = WIDTH - 20.0;
const Y_END: f64 = HEIGHT - 48.0;
const COLORS: [&str; 8] =
    ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f"];

/// One line of a chart.
#[derive(Debug, Clone)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Its points (x, y), ordered by x.
    pub points: Vec<(f64, f64)>,
}

/// A chart of several lines over one x axis.
#[derive(Debug, Clone)]
pub struct Chart {
    /// The title.
    pub title: String,
    /// What x counts.
    pub x_label: String,
    /// Its lines; points that are not finite are left out.
    pub series: Vec<Series>,
}

/// The charts below each other as one SVG document; charts without points are left out.
pub fn render(charts: &[Chart]) -> String {
    let shown: Vec<&Chart> = charts.iter().filter(|chart| chart.bounds().is_some()).collect();
    let height = HEIGHT * shown.len().max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#374151\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (idx, chart) in shown.into_iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate(0 {})\">", HEIGHT * idx as f64);
        chart.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

impl Chart {
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let all = self.series.iter().flat_map(|series| series.points.iter().copied());
        all.filter(|(x, y)| x.is_finite() && y.is_finite())
    }

    fn bounds(&self) -> Option<(Axis, Axis)> {
        self.points().next()?;
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
        };
        let x = range(&mut self.points().map(|point| point.0));
        let y = range(&mut self.points().map(|point| point.1));
        Some((Axis::new(x, false), Axis::new(y, true)))
    }

    fn draw(&self, svg: &mut String) {
        let Some(plane) = self.bounds().map(|(x, y)| Plane { x, y }) else { return };
        let text = |svg: &mut String, x: f64, y: f64, anchor: &str, words: &str| {
            let _ = writeln!(
                svg,
                "<text x=\"{x:.2}\" y=\"{y:.2}\" text-anchor=\"{anchor}\">{}</text>",
                escape(words)
            );
        };
        for tick in plane.y.ticks() {
            let y = plane.place_y(tick);
            let _ = writeln!(svg, "<path d=\"M{LEFT} {y:.2}H{X_END}\" stroke=\"#e5e7eb\"/>");
            text(svg, LEFT - 8.0, y + 4.0, "end", &plane.y.label(tick));
        }
        for tick in plane.x.ticks() {
            let x = plane.place_x(tick);
            let _ = writeln!(svg, "<path d=\"M{x:.2} {Y_END}v5\" stroke=\"#6b7280\"/>");
            text(svg, x, Y_END + 19.0, "middle", &plane.x.label(tick));
        }
        let _ = writeln!(svg, "<path d=\"M{LEFT} {TOP}V{Y_END}H{X_END}\" fill=\"none\" stroke=\"#6b7280\"/>");
        text(svg, f64::midpoint(LEFT, X_END), HEIGHT - 10.0, "middle", &self.x_label);
        svg.push_str("<g font-size=\"15\" font-weight=\"600\">");
        text(svg, LEFT, 22.0, "start", &self.title);
        svg.push_str("</g>\n");
        let mut legend_x = X_END;
        for (idx, series) in self.series.iter().enumerate().rev() {
            let color = COLORS[idx % COLORS.len()];
            series.draw(svg, &plane, color);
            text(svg, legend_x, 22.0, "end", &series.name);
            legend_x -= 8.5 * series.name.chars().count() as f64 + 22.0;
            let _ = writeln!(svg, "<path d=\"M{legend_x:.2} 18h14\" stroke=\"{color}\" stroke-width=\"3\"/>");
            legend_x -= 14.0;
        }
    }
}

impl Series {
    fn draw(&self, svg: &mut String, plane: &Plane, color: &str) {
        let finite = self.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let places: Vec<(f64, f64)> = finite.map(|(x, y)| (plane.place_x(*x), plane.place_y(*y))).collect();
        if let [(x, y)] = places[..] {
            let _ = writeln!(svg, "<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"3\" fill=\"{color}\"/>");
        } else if !places.is_empty() {
            let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.2} {y:.2}")).collect();
            let style =
                format!("fill=\"none\" stroke=\"{color}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"");
            let _ = writeln!(svg, "<path d=\"M{}\" {style}/>", path.join("L"));
        }
    }
}

/// Where a value lies on the sheet.
struct Plane {
    x: Axis,
    y: Axis,
}

impl Plane {
    fn place_x(&self, x: f64) -> f64 {
        LEFT + self.x.share(x) * (X_END - LEFT)
    }

    fn place_y(&self, y: f64) -> f64 {
        Y_END - self.y.share(y) * (Y_END - TOP)
    }
}

/// A range of values with ticks at round steps.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// `padded` widens the range to whole steps, so that a line keeps off the frame.
    fn new((low, high): (f64, f64), padded: bool) -> Self {
        let span = if high > low { high - low } else { low.abs().max(1.0) };
        let rough = span / 5.0;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .iter()
            .map(|m| m * magnitude)
            .find(|s| *s >= rough * 0.999)
            .unwrap_or(rough);
        if padded {
            let floor = (low / step).floor() * step;
            let ceiling = (high / step).ceil() * step;
            Self { low: floor, high: if ceiling > floor { ceiling } else { floor + step }, step }
        } else {
            Self { low, high: if high > low { high } else { low + 1.0 }, step }
        }
    }

    fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-9).ceil() as i64;
        let last = (self.high / self.step + 1e-9).floor() as i64;
        (first..=last).map(|n| n as f64 * self.step).collect()
    }

    fn label(&self, tick: f64) -> String {
        let decimals = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        format!("{tick:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> Chart {
        let series = vec![Series { name: "loss <all>".to_owned(), points: points.to_vec() }];
        Chart { title: "Loss".to_owned(), x_label: "step".to_owned(), series }
    }

    #[test]
    fn ticks_are_round_and_cover_the_range() {
        let axis = Axis::new((0.013, 0.078), true);
        let labels: Vec<String> = axis.ticks().into_iter().map(|tick| axis.label(tick)).collect();
        assert_eq!(labels, ["0.00", "0.02", "0.04", "0.06", "0.08"]);
    }

    #[test]
    fn a_point_that_is_not_finite_is_left_out() {
        let svg = render(&[chart(&[(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5)])]);
        assert!(!svg.contains("NaN") && svg.contains("loss &lt;all&gt;"), "{svg}");
    }

    #[test]
    fn a_chart_without_points_leaves_an_empty_sheet() {
        assert!(!render(&[chart(&[])]).contains("<g"));
    }

    #[test]
    fn one_point_is_a_dot() {
        assert!(render(&[chart(&[(3.0, 7.0)])]).contains("<circle"));
    }
}
