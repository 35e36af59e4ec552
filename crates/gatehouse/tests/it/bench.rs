//! `gatehouse bench` from outside: what it prints, draws and refuses. What it measures is proved
//! where it is made, in `rig`.

use crate::front::{BINARY, LIMIT, run};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Launch, Signal};
use gatehouse_rig::wait_until;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

fn origin() -> Origin {
    Origin::start("red").expect("a free port")
}

fn url(origin: &Origin, path: &str) -> String {
    format!("http://{}{path}", origin.address())
}

fn bench(arguments: &[&str]) -> Output {
    run(&[&["bench"], arguments].concat(), Path::new(env!("CARGO_TARGET_TMPDIR")))
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The first number behind `"name": ` in a JSON text.
fn number(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\": ")).expect("the name");
    let end = rest.find([',', '\n', '}']).unwrap_or(rest.len());
    rest[..end].parse().expect("a number")
}

#[test]
fn the_summary_has_rate_errors_latency_and_a_histogram_and_nothing_else_is_said() {
    let origin = origin();
    let url = url(&origin, "/bytes/1000");
    let output = bench(&[&url, "--requests", "500", "--connections", "4", "--warm-up", "0s"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    for part in [
        &url,
        "closed loop over 4 connections, 1 thread",
        "500 sent, 500 answered",
        "statuses    2xx 500",
        "errors      none",
        "99.9 %",
        "histogram",
        "#####",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    // No progress line where there is no terminal.
    assert_eq!(err(&output), "");
    assert_eq!(origin.requests(), 500);
}

#[test]
fn json_has_the_counts_and_a_plot_is_drawn() {
    let origin = origin();
    let picture = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench.svg");
    let (url, file) = (url(&origin, "/status/404"), picture.display().to_string());
    let load = ["--rate", "500", "--duration", "400ms", "--warm-up", "100ms"];
    let output = bench(&[&load[..], &[&url, "--json", "--plot", &file]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let json = out(&output);
    assert!(json.contains("\"ending\": \"complete\""), "{json}");
    assert!((number(&json, "rate_asked") - 500.0).abs() < 0.1, "{json}");
    let sent = number(&json, "sent");
    assert!((sent + number(&json, "unsent") - 200.0).abs() < 0.1, "{json}");
    assert!((number(&json, "4xx") - sent).abs() < 0.1, "{json}");
    assert!(number(&json, "p99.9") >= number(&json, "p50"), "{json}");
    let drawn = fs::read_to_string(&picture).expect("the file");
    assert!(drawn.starts_with("<svg ") && drawn.contains("<polyline"), "{drawn}");
    let _ = fs::remove_file(&picture);
}

#[test]
fn targets_are_measured_side_by_side() {
    let (one, two) = (origin(), origin());
    let (first, second) = (url(&one, "/slow/2"), url(&two, "/slow/20"));
    let load = ["--duration", "400ms", "--warm-up", "0s", "--rounds", "2"];
    let output = bench(&[&load[..], &[&first, "--against", &second]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let (_, ratios) = out(&output).split_once("median of 2 rounds").map_or_else(
        || panic!("no ratios in\n{}", out(&output)),
        |(before, after)| (before.to_owned(), after.to_owned()),
    );
    assert!(ratios.contains(&second) && ratios.contains("99 %      x "), "{ratios}");
    assert!(one.requests() > 0 && two.requests() > 0);
}

#[test]
fn a_body_and_fields_reach_the_origin() {
    let origin = origin();
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-body");
    fs::write(&file, "123456789").expect("a file");
    let (url, body) = (url(&origin, "/sink"), file.display().to_string());
    let few = ["--requests", "3", "--warm-up", "0s", "--connections", "1", "--json"];
    let fields = ["-H", "X-A: b", "-H", "Host: other"];
    let output = bench(&[&[&*url, "--body", &body], &few[..], &fields[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let head = "POST /sink HTTP/1.1\r\nx-a: b\r\nhost: other\r\ncontent-length: 9\r\n\r\n";
    let bytes = 3 * (head.len() + 9);
    assert!((number(&out(&output), "bytes_out") - bytes as f64).abs() < 0.1, "{}", out(&output));
    let output = bench(&[&[&*url, "--body-size", "64KiB"], &few[..]].concat());
    assert!(number(&out(&output), "bytes_out") > 3.0 * 65536.0, "{}", out(&output));
    let _ = fs::remove_file(&file);
}

#[test]
fn ctrl_c_prints_what_was_measured_so_far() {
    let origin = origin();
    let url = url(&origin, "/slow/5");
    let arguments = ["bench", &url, "--duration", "1h", "--warm-up", "0s"];
    let mut process = Launch::new(BINARY, "").arguments(arguments).spawn();
    wait_until(LIMIT, || origin.requests() > 200);
    process.signal(Signal::Int);
    assert_eq!(process.wait(LIMIT).code(), Some(0), "{:?}", process.errors());
    let text = process.output().join("\n");
    assert!(text.starts_with("stopped before the end") && text.contains("99 %"), "{text}");
}

#[test]
fn what_is_not_in_this_version_or_wrong_is_refused() {
    let origin = origin();
    let url = url(&origin, "/");
    let secure = url.replace("http:", "https:");
    for (arguments, code, says) in [
        (&[&*secure][..], 3, "tls handshake: "),
        (&[&url, "--h2"], 1, "--h2: not in this version"),
        (&[&url, "--h3"], 1, "--h3: not in this version"),
        (&["127.0.0.1:80"], 1, "is no URL"),
        (&[&url, "--against", "ftp://x/"], 1, "is no URL"),
        (&[&url, "--method", "A B"], 1, "is no method"),
        (&[&url, "-H", "Content-Length: 3"], 1, "it follows from --body"),
        (&[], 2, "URL"),
        (&[&url, "--rate", "0"], 2, "--rate"),
        (&[&url, "--duration", "10"], 2, "such as 250ms"),
        (&[&url, "--duration", "0s"], 2, "more than nothing"),
        (&[&url, "--connections", "2", "--threads", "3"], 2, "no use for 2 connections"),
        (&[&url, "--rounds", "3"], 2, "--against"),
        (&[&url, "--body", "x", "--body-size", "3"], 2, "--body-size"),
        (&[&url, "--body", "no-such-file"], 3, "no-such-file"),
        (&[&url, "--plot", "no/such/folder"], 3, "no/such/folder"),
    ] {
        let output = bench(arguments);
        let text = err(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(says), "{arguments:?}: {says:?} is not in {text}");
    }
    assert_eq!(origin.requests(), 0);
}

#[test]
fn a_server_that_is_not_there_or_never_answers_is_not_measured() {
    let mut origin = origin();
    let url = url(&origin, "/reset");
    let output = bench(&[&url, "--requests", "3", "--warm-up", "0s"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(out(&output).contains("errors      reset 3"), "{}", out(&output));
    origin.stop();
    let output = bench(&[&url]);
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("refused"), "{}", err(&output));
}
