//! `gatehouse proxy` without a file is a file.

use gatehouse_control::config::{CommandLine, command_line_text, layout, load_text};
use gatehouse_core::plan::{Balance, Bind, Transport};
use std::num::NonZeroUsize;

#[test]
fn a_command_line_becomes_a_file_that_loads_and_is_laid_out() {
    let line = CommandLine {
        listen: vec![":8080".to_owned(), "127.0.0.1:81".to_owned()],
        tls: Some(("a.pem".to_owned(), "a.key".to_owned())),
        to: vec!["127.0.0.1:9001".to_owned(), "http://127.0.0.1:9002/base".to_owned()],
        balance: Some("least-request".to_owned()),
        admin: Some("127.0.0.1:9900".to_owned()),
        workers: NonZeroUsize::new(2),
    };
    let text = command_line_text(&line);
    assert_eq!(layout(&text), Ok(text.clone()));
    let loaded = load_text("command line", &text, &[]);
    assert_eq!(loaded.problems, [], "{text}");
    let lowered = loaded.lowered.expect("it loads");
    assert_eq!(lowered.workers, NonZeroUsize::new(2));
    assert_eq!(lowered.admin.map(|admin| admin.port()), Some(9900));
    let plan = &lowered.plan;
    assert_eq!(plan.listeners[0].bind, Bind::Ip("[::]:8080".parse().unwrap()));
    assert_eq!(plan.listeners.len(), 2);
    assert!(plan.listeners.iter().all(|listener| listener.transport == Transport::Tls));
    assert_eq!(plan.upstreams[0].balance, Balance::LeastRequest);
    let endpoints: Vec<&str> = plan.upstreams[0].endpoints.iter().map(|e| &*e.text).collect();
    assert_eq!(endpoints, line.to);
}

#[test]
fn the_shortest_command_line_becomes_a_file_that_loads() {
    let line = CommandLine {
        listen: vec![":0".to_owned()],
        to: vec!["127.0.0.1:9001".to_owned()],
        ..CommandLine::default()
    };
    let text = command_line_text(&line);
    assert_eq!(layout(&text), Ok(text.clone()));
    assert_eq!(load_text("command line", &text, &[]).problems, []);
}

#[test]
fn a_command_line_cannot_say_more_than_its_words() {
    let evil = "a\"]\n[admin]\nbind = \"0.0.0.0:1\" # ${HOME} \\".to_owned();
    let line = CommandLine { listen: vec![":0".to_owned()], to: vec![evil], ..Default::default() };
    let loaded = load_text("command line", &command_line_text(&line), &[]);
    assert_eq!(loaded.problems.len(), 1, "{:?}", loaded.problems);
    assert!(loaded.problems[0].reason.contains("is no endpoint"), "{:?}", loaded.problems);
}
