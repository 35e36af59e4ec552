//! What a run found, as a picture: latency by percentile, and over time. Plain SVG that needs
//! nothing but a browser.

use std::fmt::Write;
use std::time::Duration;

use super::report::{Point, Report};
use super::shown::{rate, time};
use super::{Latency, Pace};

const WIDTH: f64 = 900.0;
/// Each panel, its labels included.
const PANEL_HEIGHT: f64 = 320.0;
const MARGIN: Margin = Margin { left: 80.0, right: 20.0, top: 40.0, bottom: 40.0 };
const LEGEND_LINE: f64 = 18.0;
/// One a target; they are told apart by those who do not see red or green too.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
/// The percentiles with a label, as the share of what took longer.
const RESTS: [(&str, f64); 6] = [
    ("0", 1.0),
    ("90", 0.1),
    ("99", 0.01),
    ("99.9", 0.001),
    ("99.99", 0.0001),
    ("99.999", 0.00001),
];
/// Points of a percentile line for each power of ten.
const STEPS: i32 = 20;

struct Margin {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// The report as an SVG document.
#[must_use]
pub fn plot(report: &Report) -> String {
    let legend = LEGEND_LINE * (report.targets.len() as f64 + 1.0);
    let height = legend + 3.0 * PANEL_HEIGHT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (at, measured) in report.targets.iter().enumerate() {
        let (y, colour) = (LEGEND_LINE * (at as f64 + 1.0), COLOURS[at % COLOURS.len()]);
        let text = format!("{}: {}", escaped(&measured.name), rate(measured.rate()));
        let x = MARGIN.left;
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{text}</text>");
    }
    by_percentile(&mut out, report, legend);
    over_time(&mut out, report, legend + PANEL_HEIGHT);
    rate_over_time(&mut out, report, legend + 2.0 * PANEL_HEIGHT);
    out.push_str("</svg>\n");
    out
}

/// A panel: where its values lie on the page.
struct Panel {
    top: f64,
    x_max: f64,
    /// The logarithms of the least and the greatest value, or the values.
    y: (f64, f64),
}

impl Panel {
    fn x(&self, value: f64) -> f64 {
        let width = WIDTH - MARGIN.left - MARGIN.right;
        MARGIN.left + width * (value / self.x_max).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.y;
        let height = PANEL_HEIGHT - MARGIN.top - MARGIN.bottom;
        self.top + MARGIN.top + height * (1.0 - ((value - low) / (high - low)).clamp(0.0, 1.0))
    }

    fn title(&self, out: &mut String, text: &str) {
        let (x, y) = (MARGIN.left, self.top + MARGIN.top - 10.0);
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" font-weight=\"bold\">{text}</text>");
    }

    fn row(&self, out: &mut String, value: f64, label: &str) {
        let (y, left, right) = (self.y(value), MARGIN.left, WIDTH - MARGIN.right);
        let _ = writeln!(
            out,
            "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{label}</text>",
            left - 6.0,
            y + 4.0
        );
    }

    fn column(&self, out: &mut String, value: f64, label: &str) {
        let (x, top) = (self.x(value), self.top + MARGIN.top);
        let bottom = self.top + PANEL_HEIGHT - MARGIN.bottom;
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{label}</text>",
            bottom + 16.0
        );
    }

    fn line(&self, out: &mut String, line: Line, points: impl Iterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "{:.1},{:.1} ", self.x(x), self.y(y));
        }
        let Line { colour, dashes } = line;
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" \
             stroke-dasharray=\"{dashes}\" points=\"{}\"/>",
            path.trim_end()
        );
    }

    /// Lines at 1, 2 and 5 times each power of ten of a second.
    fn rows_of_time(&self, out: &mut String) {
        let (low, high) = self.y;
        for power in low.floor() as i32..=high.ceil() as i32 {
            for step in [1.0, 2.0, 5.0] {
                let value = step * 10_f64.powi(power);
                if (low..=high).contains(&value.log10()) {
                    self.row(out, value.log10(), &time(Duration::from_secs_f64(value)));
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Line {
    colour: &'static str,
    dashes: &'static str,
}

impl Line {
    fn solid(at: usize) -> Self {
        Self { colour: COLOURS[at % COLOURS.len()], dashes: "none" }
    }

    fn dashed(at: usize) -> Self {
        Self { dashes: "4 3", ..Self::solid(at) }
    }
}

/// The range of some durations, as logarithms with a little room.
fn range(times: impl Iterator<Item = Duration>) -> (f64, f64) {
    let logs = times.filter(|time| !time.is_zero()).map(|time| time.as_secs_f64().log10());
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for log in logs {
        (low, high) = (low.min(log), high.max(log));
    }
    if low > high { (-6.0, 0.0) } else { (low - 0.1, high + 0.1) }
}

fn by_percentile(out: &mut String, report: &Report, top: f64) {
    let latencies = || report.targets.iter().flat_map(|each| [&each.response, &each.service]);
    let most = latencies().map(Latency::count).max().unwrap_or(0).max(10);
    let x_max = (most as f64).log10();
    let ends = latencies().flat_map(|latency| [latency.min(), latency.max()]);
    let panel = Panel { top, x_max, y: range(ends) };
    panel.title(out, "latency by percentile (dashed: from when it was sent, not from when due)");
    panel.rows_of_time(out);
    for (label, rest) in RESTS.into_iter().filter(|(_, rest)| -rest.log10() <= x_max) {
        panel.column(out, -rest.log10(), &format!("{label} %"));
    }
    for (at, measured) in report.targets.iter().enumerate() {
        percentiles(out, &panel, Line::solid(at), &measured.response);
        if matches!(measured.pace, Pace::Open(_)) {
            percentiles(out, &panel, Line::dashed(at), &measured.service);
        }
    }
}

fn percentiles(out: &mut String, panel: &Panel, line: Line, latency: &Latency) {
    if latency.count() == 0 {
        return;
    }
    let last = (latency.count() as f64).log10();
    let steps = (0..).map(|step| f64::from(step) / f64::from(STEPS)).take_while(|x| *x < last);
    let points = steps.chain([last]).map(|x| {
        let value = latency.within(1.0 - 10_f64.powf(-x));
        (x, value.as_secs_f64().max(1e-9).log10())
    });
    panel.line(out, line, points);
}

fn longest(report: &Report) -> f64 {
    let ends = report.targets.iter().map(|measured| measured.measured.as_secs_f64());
    ends.fold(0.1, f64::max)
}

fn columns_of_time(out: &mut String, panel: &Panel) {
    for tenth in (0_u32..=10).step_by(2) {
        let at = panel.x_max * f64::from(tenth) / 10.0;
        panel.column(out, at, &format!("{at:.1} s"));
    }
}

/// The middle of a moment, in seconds.
fn middle(point: &Point) -> f64 {
    (point.at + point.width / 2).as_secs_f64()
}

fn over_time(out: &mut String, report: &Report, top: f64) {
    let points = || report.targets.iter().flat_map(|measured| &measured.points);
    let answered = points().filter(|point| point.answered > 0);
    let y = range(answered.flat_map(|point| [point.p50, point.p99]));
    let panel = Panel { top, x_max: longest(report), y };
    panel.title(out, "99th percentile over time (dashed: the median)");
    panel.rows_of_time(out);
    columns_of_time(out, &panel);
    for (at, measured) in report.targets.iter().enumerate() {
        for (line, figure) in [
            (Line::solid(at), (|point| point.p99) as fn(&Point) -> Duration),
            (Line::dashed(at), |point| point.p50),
        ] {
            let answered = measured.points.iter().filter(|point| point.answered > 0);
            let log = |point: &Point| figure(point).as_secs_f64().max(1e-9).log10();
            panel.line(out, line, answered.map(|point| (middle(point), log(point))));
        }
    }
}

fn rate_over_time(out: &mut String, report: &Report, top: f64) {
    let per_second = |point: &Point| point.answered as f64 / point.width.as_secs_f64();
    let points = report.targets.iter().flat_map(|measured| &measured.points);
    let most = points.map(per_second).fold(1.0, f64::max);
    let panel = Panel { top, x_max: longest(report), y: (0.0, 1.05 * most) };
    panel.title(out, "answers a second over time");
    for quarter in 0_u32..=4 {
        let value = most * f64::from(quarter) / 4.0;
        panel.row(out, value, &rate(value));
    }
    columns_of_time(out, &panel);
    for (at, measured) in report.targets.iter().enumerate() {
        let points = measured.points.iter().map(|point| (middle(point), per_second(point)));
        panel.line(out, Line::solid(at), points);
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
