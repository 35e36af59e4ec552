//! What `docs/style.md` and ARCHITECTURE.md say that can be counted. A rule looks at one file and
//! says where it is broken and what to write instead; it never changes anything.

use crate::source::{Source, is_name, item_end, line_of, words};

pub const FUNCTION_LINES: usize = 60;
pub const FUNCTION_LINES_MAX: usize = 80;
pub const FILE_LINES_MAX: usize = 500;
pub const COLUMNS_MAX: usize = 100;

/// Functions that are tables, one row a case: splitting them would hide that they are complete.
const TABLES: [(&str, &str); 1] = [("crates/core/src/failure.rs", "facts")];

/// The one place for `unsafe`.
const UNSAFE_IN: &str = "crates/wire/src/sys.rs";

/// Who may name tokio, so that the driver underneath can change.
const TOKIO_IN: [&str; 7] = [
    "crates/wire/src/attend.rs",
    "crates/wire/src/h2/link.rs",
    "crates/wire/src/sys.rs",
    "crates/proxy/src/gate.rs",
    "crates/proxy/src/gate/memory.rs",
    "crates/proxy/src/signals.rs",
    "crates/proxy/src/tasks.rs",
];
/// Tests that drive a runtime of their own: a file, or a folder with a `/` at its end.
const TOKIO_IN_TESTS: [&str; 2] = ["crates/proxy/tests/", "crates/wire/tests/"];

/// The waiting helper everybody else uses.
const SLEEP_IN: [&str; 1] = ["crates/rig/src/wait.rs"];

/// Which of our crates each may depend on.
const DIRECTIONS: [(&str, &[&str]); 6] = [
    ("core", &[]),
    ("wire", &["core"]),
    ("proxy", &["core", "wire"]),
    ("control", &["core", "wire", "proxy"]),
    ("rig", &["core", "wire"]),
    ("gatehouse", &["core", "wire", "proxy", "control", "rig"]),
];

/// What `core` must not see, and what it does instead.
const NOT_IN_CORE: [(&str, &str); 9] = [
    ("tokio", "decide without waiting; the caller awaits"),
    ("serde", "derive nothing here; `control` lowers the text and shows the view"),
    ("TcpStream", "take bytes or an address; `wire` owns sockets"),
    ("UdpSocket", "take bytes or an address; `wire` owns sockets"),
    ("std::fs", "take the content; `control` reads files"),
    ("SystemTime", "take a `Moment` as an argument"),
    ("Instant::now", "take a `Moment` as an argument"),
    ("thread_rng", "take a `Chance` as an argument"),
    ("async fn", "decide without waiting; the caller awaits"),
];

/// One thing to mend.
#[derive(Debug)]
pub struct Finding {
    pub line: usize,
    pub rule: &'static str,
    pub instead: String,
    pub weight: Weight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Printed.
    Warning,
    /// Printed, and the test fails.
    Error,
}

/// Everything that is wrong with one file.
pub fn findings(source: &Source) -> Vec<Finding> {
    let mut found = places_of_this_machine(source);
    if source.path.ends_with("Cargo.toml") {
        found.extend(directions(source));
    }
    if source.is_rust() {
        let rules = [
            function_length,
            file_length,
            columns,
            unsafe_place,
            unsafe_reason,
            tokio_place,
            core_promise,
            ignored_tests,
            sleeping,
            unfinished,
            unwrapping,
            biased,
            names,
        ];
        found.extend(rules.iter().flat_map(|rule| rule(source)));
    }
    found.sort_by_key(|finding| finding.line);
    found
}

fn error(line: usize, rule: &'static str, instead: impl Into<String>) -> Finding {
    Finding { line, rule, instead: instead.into(), weight: Weight::Error }
}

fn is_one_of(path: &str, allowed: &[&str]) -> bool {
    allowed.iter().any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
}

fn function_length(source: &Source) -> Vec<Finding> {
    let code = &source.code;
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let name: String =
            code[at + 2..].trim_start().chars().take_while(|c| is_name(*c)).collect();
        let Some(end) = item_end(code, at).filter(|_| !name.is_empty()) else { continue };
        let (first, last) = (line_of(code, at), line_of(code, end));
        let lines = last - first + 1;
        if lines > FUNCTION_LINES && !TABLES.contains(&(&source.path, &name)) {
            let weight = if lines > FUNCTION_LINES_MAX { Weight::Error } else { Weight::Warning };
            let instead = format!("{name} has {lines} lines; split it below {FUNCTION_LINES}");
            found.push(Finding { line: first, rule: "function-length", instead, weight });
        }
    }
    found
}

fn file_length(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let instead = format!("{lines} lines: there is a second file inside; limit {FILE_LINES_MAX}");
    vec![error(FILE_LINES_MAX + 1, "file-length", instead)]
}

fn columns(source: &Source) -> Vec<Finding> {
    let numbered = source.text.lines().zip(1..);
    let wide = numbered.filter(|(text, _)| text.chars().count() > COLUMNS_MAX);
    let lines = wide.map(|(_, line)| line).filter(|line| !source.is_data(*line));
    lines.map(|line| error(line, "columns", format!("wrap at {COLUMNS_MAX} columns"))).collect()
}

fn unsafe_place(source: &Source) -> Vec<Finding> {
    if source.path == UNSAFE_IN {
        return Vec::new();
    }
    let instead = format!("a safe call, or a function of {UNSAFE_IN}");
    let lines = source.lines_with("unsafe").into_iter();
    lines.map(|line| error(line, "unsafe-place", instead.clone())).collect()
}

fn unsafe_reason(source: &Source) -> Vec<Finding> {
    if source.path != UNSAFE_IN {
        return Vec::new();
    }
    let text: Vec<&str> = source.text.lines().collect();
    let explained = |line: usize| {
        let above = text[..line - 1].iter().rev().map(|row| row.trim_start());
        let mut comment = above.take_while(|row| row.starts_with("//") || row.starts_with("#["));
        comment.any(|row| row.starts_with("// SAFETY:"))
    };
    let lines = source.lines_with("unsafe").into_iter().filter(|line| !explained(*line));
    lines.map(|line| error(line, "unsafe-reason", "`// SAFETY: why it holds` above it")).collect()
}

fn tokio_place(source: &Source) -> Vec<Finding> {
    if is_one_of(&source.path, &TOKIO_IN) || is_one_of(&source.path, &TOKIO_IN_TESTS) {
        return Vec::new();
    }
    let instead = "use `wire`'s sockets and timers or `proxy`'s gate, tasks and clock";
    let lines = source.lines_with("tokio").into_iter();
    lines.map(|line| error(line, "tokio-place", instead)).collect()
}

fn directions(source: &Source) -> Vec<Finding> {
    let Some(name) =
        source.path.strip_prefix("crates/").and_then(|p| p.strip_suffix("/Cargo.toml"))
    else {
        return Vec::new();
    };
    let allowed = DIRECTIONS.iter().find(|(crate_name, _)| *crate_name == name).map(|(_, of)| *of);
    let Some(allowed) = allowed else {
        return vec![error(
            1,
            "crate-directions",
            format!("say in DIRECTIONS what {name} may see"),
        )];
    };
    let mut found = Vec::new();
    let mut section = String::new();
    for (row, line) in source.text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
        }
        let normal = section.contains("dependencies") && !section.contains("dev-dependencies");
        let inline = line.strip_prefix("gatehouse-").filter(|_| normal);
        let table = line.strip_prefix('[').and_then(|h| h.split("dependencies.gatehouse-").nth(1));
        let Some(used) = inline.or(table.filter(|_| normal)) else { continue };
        let used: String = used.chars().take_while(|c| is_name(*c)).collect();
        if !allowed.contains(&used.as_str()) {
            let instead = format!("{name} must not see {used}; move what is shared downwards");
            found.push(error(row + 1, "crate-directions", instead));
        }
    }
    found
}

fn core_promise(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("crates/core/src/") {
        return Vec::new();
    }
    let each = NOT_IN_CORE.iter().flat_map(|(word, instead)| {
        source.lines_with(word).into_iter().map(move |line| (line, word, instead))
    });
    each.map(|(line, word, instead)| error(line, "core-promise", format!("no {word}: {instead}")))
        .collect()
}

fn ignored_tests(source: &Source) -> Vec<Finding> {
    let at = source.code.match_indices("#[ignore").map(|(at, _)| line_of(&source.code, at));
    at.map(|line| error(line, "ignored-test", "mend the test, or delete it with the reason"))
        .collect()
}

fn sleeping(source: &Source) -> Vec<Finding> {
    if is_one_of(&source.path, &SLEEP_IN) {
        return Vec::new();
    }
    let everywhere = source.path.starts_with("crates/rig/");
    let lines = source.lines_with("thread::sleep").into_iter();
    lines
        .filter(|line| everywhere || source.is_test(*line))
        .map(|line| error(line, "sleeping", "`gatehouse_rig::wait_until(limit, || condition)`"))
        .collect()
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let mut lines = source.lines_with("todo!");
    lines.extend(source.lines_with("unimplemented!"));
    for mark in [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X:")] {
        lines.extend(words(&source.text, mark).iter().map(|at| line_of(&source.text, *at)));
    }
    let instead = "finish it, or leave it out and write an issue";
    lines.into_iter().map(|line| error(line, "unfinished", instead)).collect()
}

fn unwrapping(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("crates/proxy/src/") {
        return Vec::new();
    }
    let mut lines = source.lines_with(".unwrap()");
    lines.extend(source.lines_with(".expect("));
    let lines = lines.into_iter().filter(|line| !source.is_test(*line));
    lines
        .map(|line| error(line, "unwrapping", "return a `Failure`, or make it impossible"))
        .collect()
}

fn biased(source: &Source) -> Vec<Finding> {
    let code = &source.code;
    let fair = |at: &usize| {
        let body = code[at + "select!".len()..].trim_start();
        !body.get(1..).unwrap_or("").trim_start().starts_with("biased")
    };
    let at = words(code, "select!").into_iter().filter(fair);
    at.map(|at| error(line_of(code, at), "biased", "`biased;` first, so that a seed decides"))
        .collect()
}

fn names(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let stem = source.path.rsplit('/').next().unwrap_or("").trim_end_matches(".rs");
    if stem == "utils" {
        found.push(error(1, "names", "name the file after what it holds"));
    }
    let mut line = 1;
    let mut after_fn = false;
    for word in source.code.split_inclusive(|c: char| !is_name(c)) {
        let name = word.trim_end_matches(|c: char| !is_name(c));
        let vague = name.contains("Manager") || name.split('_').any(|part| part == "utils");
        // In the name of a test, a sentence, GET is a method.
        let verbs = ["get_", "handle_"].iter().filter(|_| after_fn && !source.is_test(line));
        let verb = verbs.copied().find(|verb| name.starts_with(verb));
        if vague {
            found.push(error(line, "names", format!("{name}: say what it is or does")));
        } else if let Some(verb) = verb {
            found.push(error(
                line,
                "names",
                format!("{name}: drop {verb}, name the value or step"),
            ));
        }
        after_fn = if name.is_empty() { after_fn } else { name == "fn" };
        line += usize::from(word.ends_with('\n'));
    }
    found
}

fn places_of_this_machine(source: &Source) -> Vec<Finding> {
    let places = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
    ];
    let mut lines = Vec::new();
    for place in places {
        let starts = source.text.match_indices(place).map(|(at, _)| at);
        let absolute = |at: &usize| {
            !source.text[..*at].ends_with(|c: char| is_name(c) || c == '.' || c == '/' || c == '*')
        };
        lines.extend(starts.filter(absolute).map(|at| line_of(&source.text, at)));
    }
    let instead = "a path relative to the repository, or one that is asked for";
    lines.into_iter().map(|line| error(line, "machine-path", instead)).collect()
}
