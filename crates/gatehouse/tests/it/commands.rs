//! Commands that need no network: what they print, and their exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BAD: &str = "[listeners.web]\nbind = \":8080\"\n[[routes]]\nupstrem = \"api\"\n";

/// A folder of its own for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect("a file")
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.args(args).current_dir(&self.0).output().expect("it starts")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    path.display().to_string()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn check_says_what_it_understood() {
    let folder = Folder::new("check-good");
    let output = folder.run(&["check", "-c", &example("split.toml")]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    assert!(text.contains("1 listener, 2 routes, 2 upstreams with 4 endpoints"), "{text}");
    assert!(
        text.contains("route shop: shop.example.com /* -> split shop 95, shop-next 5"),
        "{text}"
    );
    assert!(!text.contains("more for each endpoint that is found"), "all are addresses: {text}");
    let found = out(&folder.run(&["check", "-c", &example("discovery.toml")]));
    assert!(found.contains(" more for each endpoint that is found"), "{found}");
    assert!(found.contains("an upstream takes 10000\n"), "{found}");
}

#[test]
fn check_refuses_with_places_and_without_colour() {
    let folder = Folder::new("check-bad");
    folder.write("gatehouse.toml", BAD);
    let output = folder.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let text = err(&output);
    let first = "./gatehouse.toml:4:1: error: a route has no key `upstrem`";
    assert!(text.starts_with(first), "{text}");
    assert!(!text.contains("does nothing"), "what follows from that is not said: {text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let json = out(&folder.run(&["check", "--json"]));
    assert!(json.contains("\"kind\": \"unknown-key\""), "{json}");
}

#[test]
fn check_refuses_an_access_log_that_can_be_no_file() {
    let folder = Folder::new("check-log");
    let check = |to: &str| {
        let log = format!("[log]\naccess = {{ to = \"{to}\" }}\n");
        let doors =
            "[listeners.web]\nbind = \"127.0.0.1:8080\"\n[[routes]]\nrespond = { status = 204 }\n";
        folder.write("gatehouse.toml", &format!("{doors}{log}"));
        let output = folder.run(&["check"]);
        (output.status.code(), err(&output))
    };
    assert_eq!(check("access.log").0, Some(0));
    let (code, said) = check("there/is/none.log");
    assert_eq!(code, Some(1));
    assert!(said.contains("there/is for the access log") && said.contains("mkdir -p"), "{said}");
    let (code, said) = check("/");
    assert_eq!(code, Some(1));
    assert!(said.contains("/ is a folder, and the access log a file"), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_the_worlds_fault() {
    let folder = Folder::new("nowhere");
    for args in [&["check"][..], &["test"], &["fmt"], &["explain", "GET", "http://a/"]] {
        let output = folder.run(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        let said = err(&output);
        assert!(said.starts_with("./gatehouse.toml: "), "{args:?}: {said}");
        assert!(said.contains("there is no such file\n"), "{args:?}: {said}");
        assert!(said.contains("gatehouse demo") || args == ["fmt"], "{args:?}: {said}");
    }
}

#[test]
fn a_command_that_is_none_is_usage() {
    let folder = Folder::new("usage");
    for args in [&[][..], &["chek"], &["explain", "GET"], &["explain", "GET", "/x"]] {
        assert_eq!(folder.run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn explain_says_every_routes_reason_and_what_is_sent() {
    let folder = Folder::new("explain");
    let file = example("rewrite.toml");
    let output = folder.run(&["explain", "GET", "http://x:8080/./v1/items?a=1", "-c", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    for part in [
        "listener  web: it has port 8080",
        "path      /v1/items, the normal form of /./v1/items",
        "route     api: taken",
        "route     directory: the path does not match",
        "request   set host: api.internal",
        "sends     /items?a=1",
        "endpoint  http://127.0.0.1:2003/base: round robin: the first turn",
        "asked for /base/items?a=1",
        "answer    remove server",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let args = ["explain", "PUT", "http://x/v1", "-c", &file, "--json"];
    let json = out(&folder.run(&args));
    assert!(json.contains("\"status\": 405"), "{json}");
}

#[test]
fn test_counts_what_passes_and_prints_what_does_not() {
    let folder = Folder::new("test");
    let output = folder.run(&["test", "-c", &example("rewrite.toml")]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), "5 expectations passed\n");
    folder.write(
        "gatehouse.toml",
        "[listeners.web]\nbind = \":80\"\n[[routes]]\npath = \"/a\"\nrespond = { status = 200 }\n\
         [[expect]]\nrequest = \"GET http://a/a\"\nstatus = 200\n\
         [[expect]]\nrequest = \"GET http://a/b\"\nroute = \"route-1\"\n",
    );
    let output = folder.run(&["test"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output), "1 of 2 expectations passed, 1 failed\n");
    assert_eq!(
        err(&output),
        "./gatehouse.toml:9:1: GET a/b\n  route: expected route-1, got 404, no route matches\n"
    );
}

#[test]
fn test_of_nothing_is_an_error_that_says_how_to_begin() {
    let folder = Folder::new("test-nothing");
    folder.write("gatehouse.toml", "[listeners.web]\nbind = \":80\"\n[[routes]]\nrespond = {}\n");
    let output = folder.run(&["test"]);
    let said = err(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(" has no [[expect]] row, so nothing was tested\n"), "{said}");
    assert!(said.contains("hint: write [[expect]] with request = \"GET "), "{said}");
    assert_eq!(out(&output), "");
}

#[test]
fn fmt_writes_once_and_check_writes_never() {
    let folder = Folder::new("fmt");
    folder.write("gatehouse.toml", "workers=4 # four\n");
    assert_eq!(folder.run(&["fmt", "--check"]).status.code(), Some(1));
    assert_eq!(folder.read("gatehouse.toml"), "workers=4 # four\n");
    assert_eq!(folder.run(&["fmt"]).status.code(), Some(0));
    assert_eq!(folder.read("gatehouse.toml"), "workers = 4 # four\n");
    assert_eq!(folder.run(&["fmt", "--check"]).status.code(), Some(0));
    assert_eq!(fs::read_dir(&folder.0).expect("the folder").count(), 1);
    folder.write("gatehouse.toml", "workers = \n");
    let output = folder.run(&["fmt"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("./gatehouse.toml:1:11: error: not TOML"), "{}", err(&output));
    assert_eq!(folder.read("gatehouse.toml"), "workers = \n");
}

#[test]
fn schema_is_json() {
    let folder = Folder::new("schema");
    let text = out(&folder.run(&["schema"]));
    assert!(text.starts_with("{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\""));
    assert!(text.ends_with("}\n"));
}
