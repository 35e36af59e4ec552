//! What a run found, as text for a terminal.

use std::fmt::Write;
use std::time::Duration;

use super::report::{Ending, Measured, Report, Round};
use super::shown::{bytes, digits, rate, time};
use super::{Latency, Pace, Tally};

/// The percentiles that are shown.
pub(super) const SHARES: [(&str, f64); 6] = [
    ("50 %", 0.5),
    ("75 %", 0.75),
    ("90 %", 0.9),
    ("99 %", 0.99),
    ("99.9 %", 0.999),
    ("99.99 %", 0.9999),
];
/// Lines of the histogram, at most.
const BARS: u32 = 16;
/// The longest bar.
const BAR_WIDTH: u64 = 40;

/// The report as text.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut out = String::new();
    if report.ending == Ending::Stopped {
        out.push_str("stopped before the end; this was measured so far\n\n");
    }
    for measured in &report.targets {
        section(&mut out, measured);
    }
    if let [base, others @ ..] = &report.targets[..]
        && !others.is_empty()
    {
        comparison(&mut out, base, others);
    }
    out
}

fn section(out: &mut String, measured: &Measured) {
    let tally = &measured.tally;
    let Measured { name, connections, threads, .. } = measured;
    let (s, over) = (if *threads == 1 { "" } else { "s" }, time(measured.measured));
    let pace = match measured.pace {
        Pace::Open(asked) => format!("{asked}/s from {connections} connections at most"),
        Pace::Closed => format!("closed loop over {connections} connections"),
    };
    line(out, name, format_args!(""));
    let warm_up = time(measured.warm_up);
    line(out, "  load", format_args!("{pace}, {threads} thread{s}, {over} after {warm_up}"));
    let (sent, answered, achieved) = (tally.sent, tally.answered, rate(measured.rate()));
    line(out, "  requests", format_args!("{sent} sent, {answered} answered, {achieved}"));
    if let Some(asked) = measured.missed_rate() {
        let share = digits(100.0 * measured.rate() / asked as f64);
        let text = format_args!("asked {asked}/s, achieved {achieved}: {share} % of it");
        line(out, "  FELL SHORT", text);
    }
    if tally.unsent > 0 {
        let wait = time(measured.unsent_wait);
        let text = format_args!("{} were due; the first had waited {wait}", tally.unsent);
        line(out, "  not sent", text);
    }
    line(out, "  statuses", format_args!("{}", statuses(tally)));
    line(out, "  errors", format_args!("{}", errors(tally)));
    let seconds = measured.measured.as_secs_f64().max(f64::MIN_POSITIVE);
    let (into, outof) = (tally.bytes_in as f64, tally.bytes_out as f64);
    let each = bytes(into / seconds);
    line(out, "  bytes", format_args!("{} in ({each}/s), {} out", bytes(into), bytes(outof)));
    let (cpu, share) = (time(measured.cpu_per_answer()), digits(100.0 * measured.cpu_share()));
    line(out, "  own cost", format_args!("{cpu} of CPU an answer, {share} % of the thread{s}"));
    if measured.limited_by_itself() {
        let text = format_args!("the generator was busy itself: try more --threads");
        line(out, "  MIND", text);
    }
    latencies(out, measured);
    histogram(out, &measured.response);
    out.push('\n');
}

fn line(out: &mut String, what: &str, text: std::fmt::Arguments<'_>) {
    let text = text.to_string();
    if text.is_empty() {
        let _ = writeln!(out, "{what}");
    } else {
        let _ = writeln!(out, "{what:<13} {text}");
    }
}

fn statuses(tally: &Tally) -> String {
    let names = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let named = names.iter().zip(tally.statuses).filter(|(_, count)| *count > 0);
    let parts: Vec<String> = named.map(|(name, count)| format!("{name} {count}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn errors(tally: &Tally) -> String {
    let reason = tally.connect_reason.as_ref().map(|reason| format!(" ({reason})"));
    let counts = [
        ("connect", tally.connect, reason.unwrap_or_default()),
        ("reset", tally.reset, String::new()),
        ("closed early", tally.closed, String::new()),
        ("timeout", tally.timeout, String::new()),
        ("malformed", tally.malformed, String::new()),
        ("4xx", tally.statuses[4], String::new()),
        ("5xx", tally.statuses[5], String::new()),
        ("unfinished", tally.unfinished, String::new()),
    ];
    let found = counts.iter().filter(|(_, count, _)| *count > 0);
    let parts: Vec<String> =
        found.map(|(name, count, more)| format!("{name} {count}{more}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn latencies(out: &mut String, measured: &Measured) {
    let (response, service) = (&measured.response, &measured.service);
    if response.count() == 0 {
        return;
    }
    let open = matches!(measured.pace, Pace::Open(_));
    if open {
        let _ = writeln!(out, "  {:<11} {:>12} {:>12}", "latency", "from due", "from sent");
    } else {
        let _ = writeln!(out, "  latency");
    }
    let mut row = |name: &str, figure: &dyn Fn(&Latency) -> Duration| {
        let service = if open { time(figure(service)) } else { String::new() };
        let text = format!("    {name:<9} {:>12} {service:>12}", time(figure(response)));
        let _ = writeln!(out, "{}", text.trim_end());
    };
    row("min", &Latency::min);
    row("mean", &Latency::mean);
    for (name, share) in SHARES {
        row(name, &|latency| latency.within(share));
    }
    row("max", &Latency::max);
    let bounds = measured.lower_bounds;
    if bounds > 0 {
        let s = if bounds == 1 { "has" } else { "have" };
        let _ =
            writeln!(out, "    {bounds} of these {s} no answer and count as long as they waited");
    }
}

/// Bars of equal width on a logarithmic scale.
fn histogram(out: &mut String, latency: &Latency) {
    if latency.count() == 0 {
        return;
    }
    let low = latency.min().max(Duration::from_nanos(1));
    let ratio = latency.max().as_secs_f64() / low.as_secs_f64();
    // No finer than a tenth: there is nothing to see.
    let bars = ((ratio.ln() / 1.1_f64.ln()).ceil() as u32).clamp(1, BARS);
    let edge = |bar: u32| match bar {
        0 => Duration::ZERO,
        bar if bar == bars => Duration::MAX,
        bar => low.mul_f64(ratio.powf(f64::from(bar) / f64::from(bars))),
    };
    let counts: Vec<u64> =
        (0..bars).map(|bar| latency.count_between(edge(bar), edge(bar + 1))).collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let _ = writeln!(out, "  histogram");
    for (bar, count) in (0..bars).zip(&counts) {
        let (from, to) = (edge(bar).max(low), edge(bar + 1).min(latency.max()));
        let bar = "#".repeat((count * BAR_WIDTH).div_ceil(most) as usize);
        let share = digits(100.0 * *count as f64 / latency.count() as f64);
        let (from, to) = (time(from), time(to));
        let _ = writeln!(out, "    {from:>8} to {to:>8} |{bar:<40}| {count:>8} {share:>5} %");
    }
}

fn comparison(out: &mut String, base: &Measured, others: &[Measured]) {
    let rounds = base.rounds.len();
    let _ = writeln!(out, "by {}, median of {rounds} rounds (least to greatest)", base.name);
    for other in others {
        let _ = writeln!(out, "  {}", other.name);
        let mut row = |name: &str, figure: &dyn Fn(&Round) -> f64| {
            let Some(ratio) = other.ratio(base, figure) else { return };
            let [median, min, max] = [ratio.median, ratio.min, ratio.max].map(digits);
            let _ = writeln!(out, "    {name:<9} x {median} ({min} to {max})");
        };
        row("rate", &|round| round.rate);
        row("50 %", &|round| round.p50.as_secs_f64());
        row("99 %", &|round| round.p99.as_secs_f64());
    }
}
