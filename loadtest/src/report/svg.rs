//! Plots as inline SVG. Colours come from the page's style sheet, so that a plot follows light and dark.

use std::fmt::Write;

/// A line of a plot.
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// A class of the page's style sheet: `c0` to `c5`.
    pub colour: usize,
    /// Dashed, for the second of two that belong together.
    pub dashed: bool,
    /// (x, y); a gap in y is a gap in the line.
    pub points: Vec<(f64, Option<f64>)>,
}

/// How y runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0.
    Linear,
    /// By powers of ten.
    Log,
}

/// A vertical line with a word.
pub struct Mark {
    /// Where.
    pub x: f64,
    /// The word.
    pub text: String,
    /// A class of the page's style sheet.
    pub class: &'static str,
}

/// A plot over time.
pub struct Plot {
    /// Above it.
    pub title: String,
    /// What y is.
    pub unit: String,
    /// How y runs.
    pub scale: Scale,
    /// The last x, seconds.
    pub x_max: f64,
    /// The lines.
    pub series: Vec<Series>,
    /// The vertical lines.
    pub marks: Vec<Mark>,
}

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 30.0;
/// The lowest value of a logarithmic plot, where nothing is above 0.
const LOG_FLOOR: f64 = 0.1;

struct Frame {
    scale: Scale,
    x_max: f64,
    low: f64,
    high: f64,
}

impl Frame {
    fn of(plot: &Plot) -> Self {
        let values = || plot.series.iter().flat_map(|s| s.points.iter().filter_map(|p| p.1)).filter(|y| y.is_finite());
        let top = values().fold(0.0, f64::max);
        let (low, high) = match plot.scale {
            Scale::Linear => (0.0, nice_above(top)),
            Scale::Log => {
                let least = values().filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min);
                let low = if least.is_finite() { 10f64.powf(least.log10().floor()) } else { LOG_FLOOR };
                (low, 10f64.powf((top.max(low * 10.0)).log10().ceil()))
            }
        };
        Self { scale: plot.scale, x_max: plot.x_max.max(1.0), low, high }
    }

    fn x(&self, x: f64) -> f64 {
        LEFT + (x / self.x_max).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, y: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => y / self.high,
            Scale::Log => (y.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        HEIGHT - BOTTOM - part.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn y_ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => (0..=4).map(|i| self.high * f64::from(i) / 4.0).collect(),
            Scale::Log => {
                let decades = (self.high / self.low).log10().round() as i32;
                (0..=decades).map(|i| self.low * 10f64.powi(i)).collect()
            }
        }
    }
}

/// The next of 1, 2, 4, 5, 8 times a power of ten.
fn nice_above(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].into_iter().map(|n| n * power).find(|n| *n >= value * 1.02).unwrap_or(20.0 * power)
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", trim(v / 1e6)),
        v if v >= 1e4 => format!("{}k", trim(v / 1e3)),
        v => trim(v),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text that may stand in markup.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// The plot as a figure.
pub fn figure(plot: &Plot) -> String {
    let frame = Frame::of(plot);
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        svg,
        r#"<figure><figcaption><b>{}</b> <span>{}</span>{}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
        escape(&plot.title),
        escape(&plot.unit),
        legend(plot),
        escape(&plot.title)
    );
    for y in frame.y_ticks() {
        let (at, text) = (frame.y(y), number(y));
        let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{}" y1="{at:.1}" y2="{at:.1}"/>"#, WIDTH - RIGHT);
        let _ =
            write!(svg, r#"<text class="tick" x="{}" y="{:.1}" text-anchor="end">{text}</text>"#, LEFT - 8.0, at + 4.0);
    }
    let step = x_step(frame.x_max);
    let mut x = 0.0;
    while x <= frame.x_max {
        let (at, y, text) = (frame.x(x), HEIGHT - BOTTOM + 18.0, number(x));
        let _ = write!(svg, r#"<text class="tick" x="{at:.1}" y="{y}" text-anchor="middle">{text} s</text>"#);
        x += step;
    }
    for mark in &plot.marks {
        let (at, class, text) = (frame.x(mark.x), mark.class, escape(&mark.text));
        let _ = write!(
            svg,
            r#"<line class="mark {class}" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{}"/>"#,
            HEIGHT - BOTTOM
        );
        let _ = write!(svg, r#"<text class="word {class}" x="{:.1}" y="{}">{text}</text>"#, at + 5.0, TOP - 7.0);
    }
    for series in &plot.series {
        let dash = if series.dashed { " dashed" } else { "" };
        let _ = write!(svg, r#"<path class="line c{}{dash}" d="{}"/>"#, series.colour, path(&frame, &series.points));
    }
    svg.push_str("</svg></figure>\n");
    svg
}

fn legend(plot: &Plot) -> String {
    plot.series
        .iter()
        .map(|s| {
            format!(
                r#"<span><i class="key c{}{}"></i> {}</span>"#,
                s.colour,
                if s.dashed { " dashed" } else { "" },
                escape(&s.name)
            )
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn x_step(x_max: f64) -> f64 {
    [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0].into_iter().find(|s| x_max / s <= 12.0).unwrap_or(600.0)
}

fn path(frame: &Frame, points: &[(f64, Option<f64>)]) -> String {
    let mut out = String::new();
    let mut drawing = false;
    for (x, y) in points {
        let Some(y) = y.filter(|y| y.is_finite()) else {
            drawing = false;
            continue;
        };
        let _ = write!(out, "{}{:.1} {:.1}", if drawing { "L" } else { "M" }, frame.x(*x), frame.y(y));
        drawing = true;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        let got = [0.0, 0.7, 1.0, 1.9, 3.0, 47.0, 2000.0].map(nice_above);
        assert_eq!(got, [1.0, 0.8, 2.0, 2.0, 4.0, 50.0, 4000.0]);
        assert_eq!([0.0, 0.25, 1500.0, 20_000.0, 2.5e6].map(number), ["0", "0.25", "1500", "20k", "2.5M"]);
    }

    #[test]
    fn a_gap_in_the_values_is_a_gap_in_the_line() {
        let frame = Frame { scale: Scale::Linear, x_max: 3.0, low: 0.0, high: 1.0 };
        let line = path(&frame, &[(0.0, Some(1.0)), (1.0, None), (2.0, Some(0.5)), (3.0, Some(f64::NAN))]);
        assert_eq!(line.matches('M').count(), 2);
        assert_eq!(line.matches('L').count(), 0);
    }

    #[test]
    fn names_cannot_break_the_markup() {
        let plot = Plot {
            title: "a<b".into(),
            unit: "\"&".into(),
            scale: Scale::Log,
            x_max: 0.0,
            series: vec![Series { name: "<script>".into(), colour: 0, dashed: true, points: vec![] }],
            marks: vec![Mark { x: 0.0, text: "</svg>".into(), class: "fault" }],
        };
        let svg = figure(&plot);
        assert!(!svg.contains("<script>") && svg.matches("</svg>").count() == 1, "{svg}");
    }
}
