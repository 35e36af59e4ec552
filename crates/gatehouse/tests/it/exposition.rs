//! Prometheus' text format 0.0.4, read strictly enough that what passes can be scraped.

use std::collections::{BTreeMap, BTreeSet};

/// One sample of a scrape.
#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Checks a scrape: every family has its help and type before its samples and stands together, no
/// series comes twice, counters are not negative, histograms are cumulative and end in `+Inf`.
///
/// # Panics
///
/// With the line that is wrong.
#[track_caller]
pub fn check(text: &str) {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut kinds = BTreeMap::<&str, &str>::new();
    let mut helped = BTreeSet::<&str>::new();
    let mut current = "";
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            assert!(
                !help.is_empty() && helped.insert(name),
                "{line}: no help, or for the second time"
            );
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}: kind");
            assert!(kinds.insert(name, kind).is_none(), "{line}: for the second time");
            assert!(kind != "counter" || name.ends_with("_total"), "{line}: ends without _total");
            current = name;
        } else {
            let sample = read(line);
            let kind = kinds.get(current).copied().unwrap_or_default();
            let suffixes: &[&str] = match kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let own = suffixes.iter().any(|suffix| sample.name == format!("{current}{suffix}"));
            assert!(own && helped.contains(current), "{line}: outside of its family");
            assert!(kind == "gauge" || sample.value >= 0.0, "{line}: negative");
            samples.push(sample);
        }
    }
    unique(&samples);
    for (name, _) in kinds.iter().filter(|(_, kind)| **kind == "histogram") {
        histograms(name, &samples);
    }
}

#[track_caller]
fn unique(samples: &[Sample]) {
    let mut seen = BTreeSet::new();
    for sample in samples {
        let series = (&sample.name, &sample.labels);
        assert!(seen.insert(series), "{series:?} comes twice");
    }
}

/// Buckets by their labels without `le`.
#[track_caller]
fn histograms(name: &str, samples: &[Sample]) {
    let of = |suffix: &str| {
        let full = format!("{name}{suffix}");
        samples.iter().filter(move |sample| sample.name == full)
    };
    let mut series = BTreeMap::<BTreeMap<String, String>, Vec<(f64, f64)>>::new();
    for bucket in of("_bucket") {
        let mut labels = bucket.labels.clone();
        let bound = labels.remove("le").expect("a bucket has a bound");
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a number") };
        series.entry(labels).or_default().push((bound, bucket.value));
    }
    for (labels, buckets) in &series {
        let rising = buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        assert!(rising, "{name}{labels:?}: not cumulative: {buckets:?}");
        let (bound, all) = *buckets.last().expect("a bucket");
        assert!(bound.is_infinite(), "{name}{labels:?}: no +Inf");
        let count = of("_count").find(|sample| sample.labels == *labels).expect("a count");
        assert!((count.value - all).abs() < 0.5, "{name}{labels:?}: {} of {all}", count.value);
        assert!(of("_sum").any(|sample| sample.labels == *labels), "{name}{labels:?}: no sum");
    }
    assert_eq!(of("_count").count(), series.len(), "{name}: counts without buckets");
}

#[track_caller]
fn read(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect(line);
    let (name, rest) = line.split_at(end);
    assert!(is_name(name), "{line}: name");
    let (labels, value) = match rest.strip_prefix('{') {
        None => (BTreeMap::new(), rest),
        Some(rest) => labels(rest, line),
    };
    let value = value.strip_prefix(' ').expect(line).parse().expect(line);
    Sample { name: name.to_owned(), labels, value }
}

#[track_caller]
fn labels<'a>(text: &'a str, line: &str) -> (BTreeMap<String, String>, &'a str) {
    let mut found = BTreeMap::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"").expect(line);
        assert!(is_name(name), "{line}: label {name}");
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect(line) {
                (at, '"') => break at + 1,
                (_, '\\') => match chars.next().expect(line).1 {
                    'n' => value.push('\n'),
                    c @ ('"' | '\\') => value.push(c),
                    c => panic!("{line}: escape \\{c}"),
                },
                (_, c) => value.push(c),
            }
        };
        assert!(found.insert(name.to_owned(), value).is_none(), "{line}: {name} twice");
        rest = &after[end..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return (found, rest.strip_prefix('}').expect(line)),
        }
    }
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !text.is_empty() && text.chars().all(plain) && !text.starts_with(|c: char| c.is_ascii_digit())
}
