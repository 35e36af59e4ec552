//! Starts that fail: each message says what, where and what to do, and the exit code whose fault.

use crate::front::{BINARY, DOORS, ended, get, post, refuse_to_start, run};
use gatehouse_rig::process::{Gateway, Launch};
use std::fs;
use std::net::TcpListener;
use std::path::Path;

const WRONG_INPUT: Option<i32> = Some(1);
const WORLD_FAILED: Option<i32> = Some(3);

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// A configuration with these lines behind the doors is refused in these words.
#[track_caller]
fn refused(lines: &str, parts: &[&str]) {
    let (code, said) = refuse_to_start(&format!("{DOORS}{lines}"));
    assert_eq!(code, WRONG_INPUT, "{said}");
    says(&said, parts);
    assert!(!said.contains("ready") && !said.contains("listening"), "{said}");
}

#[test]
fn an_unknown_key_is_named_with_the_one_that_was_meant() {
    refused(
        "[[routes]]\nupstrem = \"api\"\n",
        &["gatehouse.toml:6:1: error: a route has no key `upstrem`", "did you mean `upstream`?"],
    );
}

#[test]
fn a_wrong_type_is_named_with_what_was_expected() {
    refused(
        "drain = 30\n",
        &["gatehouse.toml:5:1: error: a listener has no key `drain`", "the top of the file"],
    );
    let (code, said) = refuse_to_start("workers = \"four\"\n[listeners.web]\nbind = \":0\"\n");
    assert_eq!(code, WRONG_INPUT);
    says(
        &said,
        &[
            "gatehouse.toml:1:11: error: `workers`: expected a whole number from 1 to 1024",
            "found a string",
            "such as `workers = 4`",
        ],
    );
}

#[test]
fn a_pattern_that_does_not_compile_is_shown_with_its_place() {
    refused(
        "[[routes]]\npath = \"~ ^/(a\"\nrespond = { status = 200 }\n",
        &["gatehouse.toml:6:13: error:", "unclosed group", "path = \"~ ^/(a\""],
    );
}

#[test]
fn a_pattern_that_can_never_be_reached_is_a_warning_that_shows_both_routes() {
    let lines = "[[routes]]\nname = \"first\"\npath = \"~ ^/a\"\nrespond = {}\n\
                 [[routes]]\nname = \"second\"\npath = \"~ ^/a\"\nrespond = {}\n";
    let gateway = Gateway::start(BINARY, &format!("{DOORS}{lines}"));
    says(
        &gateway.errors().join("\n"),
        &[
            "gatehouse.toml:9:1: warning: this route is never taken: route first",
            "gatehouse.toml:5:1: this one goes first",
        ],
    );
}

#[test]
fn two_routes_that_tie_are_both_shown() {
    refused(
        "[[routes]]\npath = \"/a/*\"\nrespond = {}\n[[routes]]\npath = \"/a/*\"\nrespond = {}\n",
        &[
            "gatehouse.toml:8:1: error: routes route-1 and route-2 tie",
            "gatehouse.toml:5:1: route route-1",
            "hint: give one of them another host, path or further matcher",
        ],
    );
}

#[test]
fn all_problems_are_told_at_once() {
    refused(
        "[[routes]]\npath = \"~ (\"\nrespond = {}\n[[routes]]\nupstream = \"nobody\"\nx = 1\n",
        &["gatehouse.toml:6:11: error:", "no key `x`", "no upstream called \"nobody\""],
    );
}

#[test]
fn a_port_in_use_is_named_with_how_to_find_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let config = format!("[listeners.web]\nbind = \"{address}\"\n[[routes]]\nrespond = {{}}\n");
    let (code, said) = refuse_to_start(&config);
    assert_eq!(code, WORLD_FAILED, "{said}");
    let port = address.port();
    says(
        &said,
        &[
            &format!("error: listener web cannot listen on {address}"),
            "the address is in use by another process",
            &format!("ss -ltnp 'sport = :{port}'"),
            "change listeners.web.bind",
        ],
    );
}

#[test]
fn the_port_of_another_gateway_is_in_use_too() {
    let config = format!("{DOORS}[[routes]]\nrespond = {{ body = \"first\" }}\n");
    let first = Gateway::start(BINARY, &config);
    for (key, address) in [("web", first.listener("web")), ("admin", first.admin())] {
        let second = match key {
            "web" => config.replacen(
                "[listeners.web]\nbind = \"127.0.0.1:0\"",
                &format!("[listeners.web]\nbind = \"{address}\""),
                1,
            ),
            _ => config.replacen("127.0.0.1:0", &address.to_string(), 1),
        };
        let (code, said) = refuse_to_start(&second);
        assert_eq!(code, WORLD_FAILED, "{said}");
        says(&said, &[key, &format!("cannot listen on {address}"), "in use"]);
    }
    assert_eq!(get(first.listener("web"), "/").text(), "first");
}

#[test]
fn an_address_of_another_machine_is_named() {
    let config = "[listeners.web]\nbind = \"192.0.2.1:0\"\n[[routes]]\nrespond = {}\n";
    let (code, said) = refuse_to_start(config);
    assert_eq!(code, WORLD_FAILED, "{said}");
    says(&said, &["192.0.2.1:0", "this machine does not have that address", "listeners.web.bind"]);
}

#[test]
fn a_missing_file_is_the_worlds_fault_and_named() {
    let launch = Launch::new(BINARY, "").arguments(["run", "-c", "absent.toml"]);
    let (code, said) = ended(launch.spawn());
    assert_eq!(code, WORLD_FAILED, "{said}");
    assert_eq!(
        said.trim_end(),
        "absent.toml: error: there is no such file\n  = hint: name the file with -c FILE; \
         `gatehouse demo` and `gatehouse proxy` need none"
    );
}

/// Puts a pipe that nobody writes into where something else may stand.
fn put_pipe(path: &Path) {
    let fresh = path.with_extension("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fresh).status().expect("it starts");
    assert!(made.success());
    fs::rename(fresh, path).expect("renamed");
}

#[test]
fn a_configuration_that_is_no_regular_file_is_refused_and_nobody_waited_for() {
    for (command, name, what) in [
        ("run", "pipe", "a pipe"),
        ("check", "pipe", "a pipe"),
        ("check", "link", "a pipe"),
        ("check", "/dev/zero", "a device"),
    ] {
        let launch = Launch::new(BINARY, "").arguments([command, "-c", name]);
        put_pipe(&launch.folder().join("pipe"));
        std::os::unix::fs::symlink("pipe", launch.folder().join("link")).expect("a link");
        let (code, said) = ended(launch.spawn());
        assert_eq!(code, WORLD_FAILED, "{said}");
        let whole = format!(
            "{name}: error: cannot be read: it is {what}; a configuration is a regular file, \
             which may be read again\n  = hint: write it to a file, and name that"
        );
        assert_eq!(said.trim_end(), whole);
    }
}

#[test]
fn a_pipe_in_place_of_the_configuration_holds_no_reload_up() {
    let config = format!("{DOORS}[[routes]]\nrespond = {{ body = \"one\" }}\n");
    let gateway = Gateway::start(BINARY, &config);
    put_pipe(&gateway.folder().join("gatehouse.toml"));
    let answer = post(gateway.admin(), "/reload", "");
    assert_eq!(answer.status, 500);
    says(&answer.text(), &["gatehouse.toml: error: cannot be read: it is a pipe", "hint: write"]);
    fs::remove_file(gateway.folder().join("gatehouse.toml")).expect("it is there");
    gateway.reconfigure(&config.replace("one", "two"));
    assert_eq!(post(gateway.admin(), "/reload", "").status, 200);
    assert_eq!(get(gateway.listener("web"), "/").text(), "two");
}

#[test]
fn a_file_at_the_path_of_a_socket_is_left_alone() {
    let config = "[listeners.web]\nbind = \"unix:precious\"\n[[routes]]\nrespond = {}\n";
    let launch = Launch::new(BINARY, config).file("precious", "data");
    let mut gateway = launch.spawn();
    let code = gateway.wait(crate::front::LIMIT).code();
    let said = gateway.errors().join("\n");
    assert_eq!(code, WORLD_FAILED, "{said}");
    says(&said, &["precious", "a file that is no socket stands there", "listeners.web.bind"]);
    let kept = fs::read(gateway.folder().join("precious")).expect("the file");
    assert_eq!(kept, b"data");
}

#[test]
fn an_access_log_that_cannot_be_opened_is_named() {
    for (to, why) in
        [("absent/access.log", "no such file or folder"), (".", "is a directory"), ("log", "")]
    {
        let lines = format!("[log.access]\nto = \"{to}\"\n[[routes]]\nrespond = {{}}\n");
        let launch = Launch::new(BINARY, &format!("{DOORS}{lines}"));
        fs::create_dir(launch.folder().join("log")).expect("a folder");
        let file = launch.folder().join("gatehouse.toml").display().to_string();
        let checked = run(&["check", "-c", &file], launch.folder());
        let checked = String::from_utf8_lossy(&checked.stderr).into_owned();
        let hint = checked.lines().find_map(|line| line.split_once("hint: ")).expect("a hint").1;
        let (code, said) = ended(launch.spawn());
        assert_eq!(code, WORLD_FAILED, "{said}");
        says(&said, &[to, why, &format!("hint: {hint}")]);
    }
}

#[test]
fn a_port_that_needs_privilege_is_named_with_what_grants_it() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let needs_privilege =
        first.is_ok_and(|first| first.trim().parse::<u16>().is_ok_and(|at| at > 1));
    // Where no port needs privilege, or nobody may run the binary, there is nothing to see.
    let probe = ["--reuid=65534", "--regid=65534", "--clear-groups", BINARY, "--version"];
    let other = std::process::Command::new("setpriv").args(probe).output();
    if !needs_privilege || !other.is_ok_and(|probe| probe.status.success()) {
        return;
    }
    let proxy = ["proxy", "--listen", "127.0.0.1:1", "--to", "127.0.0.1:2"];
    let arguments = probe[..4].iter().copied().chain(proxy);
    let launch = Launch::new("setpriv", "").arguments(arguments.map(str::to_owned));
    let (code, said) = ended(launch.spawn());
    assert_eq!(code, WORLD_FAILED, "{said}");
    says(&said, &["cannot listen on 127.0.0.1:1", "permission denied", "CAP_NET_BIND_SERVICE"]);
}

#[test]
fn what_cannot_be_in_this_version_is_said_so() {
    refused(
        "[[routes]]\nlimit = 1\nrespond = {}\n",
        &["gatehouse.toml:6:1: error:", "`limit` is not in this version"],
    );
}

#[test]
fn an_admin_interface_beyond_loopback_is_refused() {
    let doors = DOORS.replacen("127.0.0.1", "0.0.0.0", 1);
    let (code, said) = refuse_to_start(&format!("{doors}[[routes]]\nrespond = {{}}\n"));
    assert_eq!(code, WRONG_INPUT, "{said}");
    let hint = "write \"127.0.0.1:0\"";
    says(&said, &["gatehouse.toml:2:8: error:", "tokens are not in this version", hint]);
}

#[test]
fn check_and_run_say_the_same() {
    let text = format!("{DOORS}[[routes]]\nupstrem = \"api\"\n");
    let gateway = Launch::new(BINARY, &text);
    let folder = gateway.folder().to_owned();
    let checked =
        run(&["check", "-c", &folder.join("gatehouse.toml").display().to_string()], Path::new("/"));
    let (_, said) = ended(gateway.spawn());
    assert_eq!(String::from_utf8_lossy(&checked.stderr).trim_end(), said.trim_end());
}
