//! Configurations broken at random: nothing panics, and every problem has a place in its file.

use crate::examples::examples;
use crate::golden::{ENV, files, places_are_inside};
use crate::json_schema::toml_value;
use gatehouse_control::config::{Paint, ask, layout, load_text, render};
use proptest::prelude::*;
use std::fs;

/// What is put into a file: parts of its own language, and rubbish.
const PIECES: [&str; 32] = [
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    "\n",
    "\r\n",
    "\\",
    "${",
    "${PORT}",
    "$$",
    "~ (",
    "*",
    "/",
    "%2f",
    "-1",
    "99999999999999999999",
    "1.5",
    "true",
    "[[routes]]\n",
    "[upstreams.api]\n",
    "upstream = ",
    "é",
    "\u{0}",
    "\u{feff}",
    "\"\"\"",
    "😀",
];

#[derive(Clone, Debug)]
enum Mutation {
    Insert(usize, usize),
    Delete(usize, usize),
    Copy(usize, usize, usize),
    Line(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = || 0..10_000_usize;
    prop_oneof![
        (at(), 0..PIECES.len()).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (at(), 1..20_usize).prop_map(|(at, length)| Mutation::Delete(at, length)),
        (at(), 1..60_usize, at()).prop_map(|(from, length, to)| Mutation::Copy(from, length, to)),
        (at(), at()).prop_map(|(from, to)| Mutation::Line(from, to)),
    ]
}

fn boundary(text: &str, at: usize) -> usize {
    let mut at = at % (text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn mutate(text: &mut String, mutation: &Mutation) {
    match mutation {
        Mutation::Insert(at, piece) => text.insert_str(boundary(text, *at), PIECES[*piece]),
        Mutation::Delete(at, length) => {
            let start = boundary(text, *at);
            let end = boundary(text, (start + length).min(text.len())).max(start);
            text.replace_range(start..end, "");
        }
        Mutation::Copy(from, length, to) => {
            let start = boundary(text, *from);
            let end = boundary(text, (start + length).min(text.len())).max(start);
            let part = text[start..end].to_owned();
            text.insert_str(boundary(text, *to), &part);
        }
        Mutation::Line(from, to) => {
            let mut lines: Vec<&str> = text.lines().collect();
            if !lines.is_empty() {
                let (from, to) = (from % lines.len(), to % lines.len());
                let line = lines.remove(from);
                lines.insert(to.min(lines.len()), line);
                *text = lines.join("\n");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn a_broken_configuration_is_refused_with_places(
        which in 0..64_usize,
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut paths = examples();
        paths.extend(files("good"));
        let path = &paths[which % paths.len()];
        // Nothing is read from the disk but the file itself.
        let text = fs::read_to_string(path).expect("the file is there");
        let mut text = text.replace("include", "exclude");
        mutations.iter().for_each(|mutation| mutate(&mut text, mutation));
        let loaded = load_text("mutated.toml", &text, &ENV);
        places_are_inside(&loaded);
        render(&loaded, Paint::Colour);
        match &loaded.lowered {
            None => prop_assert!(!loaded.problems.is_empty()),
            Some(lowered) => for expect in &lowered.expects {
                let _ = ask(&lowered.plan, &expect.question);
            },
        }
        if let Ok(once) = layout(&text) {
            prop_assert_eq!(toml_value(&once), toml_value(&text));
            prop_assert_eq!(once.matches('#').count(), text.matches('#').count());
            let twice = layout(&once);
            prop_assert_eq!(twice, Ok(once));
        }
    }
}
