//! Handing over to a new process: nobody is refused, what is under way ends, and a process that
//! does not come changes nothing.

use crate::discovery_file::{self, list, replace, shown};
use crate::front::{BINARY, DOORS, LIMIT, ask_admin, config, get, get_over, request, scrape};
use crate::json::Json;
use crate::load::{rounds, under_load};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::script::Client;
use gatehouse_rig::wait_until;
use rustix::process::{Pid, kill_process};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A gateway and all that follow it. Dropping it ends them.
pub struct Line(pub Gateway);

impl Line {
    /// The processes that took over, in order.
    fn successors(&self) -> Vec<Pid> {
        let process = |line: &String| {
            let rest = line.strip_prefix("process ")?;
            Pid::from_raw(rest.strip_suffix(" has taken over")?.parse().ok()?)
        };
        self.0.errors().iter().filter_map(process).collect()
    }

    /// Has the newest of them hand over, and waits until that has happened.
    #[track_caller]
    fn upgrade(&self) -> Pid {
        let before = self.successors();
        match before.last() {
            None => self.0.signal(Signal::Usr2),
            Some(newest) => {
                kill_process(*newest, rustix::process::Signal::USR2).expect("it runs");
            }
        }
        wait_until(LIMIT, || self.successors().len() > before.len());
        *self.successors().last().expect("one more")
    }

    fn has_ended(process: Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
        // One that nobody waits for stays as a zombie.
        stat.map_or(true, |stat| stat.contains(") Z "))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for process in self.successors() {
            if !Line::has_ended(process) {
                let _ = kill_process(process, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Asks for the process that answers at the admin interface: its uptime starts anew.
fn generation_of(admin: SocketAddr) -> u64 {
    let text = ask_admin(admin, "/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix("gatehouse_config_generation "));
    line.and_then(|value| value.parse().ok()).expect("a generation")
}

#[test]
fn a_new_process_takes_over_every_socket_and_the_old_one_ends_what_it_does() {
    let origin = Origin::start("a").expect("a port");
    let path = Launch::new(BINARY, "");
    let socket = path.folder().join("gatehouse.sock");
    let text = format!(
        "workers = 2\n{}[listeners.local]\nbind = \"unix:{}\"\n",
        config(&[origin.address()]),
        socket.display()
    );
    let line = Line(Gateway::start(BINARY, &text));
    let (web, admin) = (line.0.listener("web"), line.0.admin());
    let mut slow = Client::connect(web);
    slow.send(request("GET", "/slow/1000", ""));
    wait_until(LIMIT, || scrape(&line.0).sum("endpoint_requests_in_flight", &[]) == 1);
    let changed = text.replace("name = \"all\"", "name = \"renamed\"");
    line.0.reconfigure(&changed);
    let process = line.upgrade();
    // The new one has read the file, and is asked at the same addresses.
    assert!(ask_admin(admin, "/status").text().contains("renamed"));
    assert_eq!(generation_of(admin), 1);
    assert_eq!(get(web, "/").text(), "a\n");
    let answer = slow.expect_status(200);
    assert_eq!(answer.field("connection"), Some("close"));
    drop(slow);
    let mut line = line;
    assert_eq!(line.0.wait(LIMIT).code(), Some(0));
    assert!(socket.exists(), "its path belongs to the new process");
    std::os::unix::net::UnixStream::connect(&socket).expect("it is served");
    assert_eq!(get(web, "/").text(), "a\n");
    kill_process(process, rustix::process::Signal::TERM).expect("it runs");
    wait_until(LIMIT, || !socket.exists());
}

#[test]
fn a_new_process_begins_with_what_was_found_though_the_source_is_gone() {
    let origin = Origin::start("a").expect("a port");
    let found = list(&[origin.address()]);
    let launch = Launch::new(BINARY, &discovery_file::found("")).file("backends.json", found);
    let line = Line(launch.start());
    let web = line.0.listener("web");
    assert_eq!(get(web, "/").text(), "a\n");
    fs::remove_file(line.0.folder().join("backends.json")).expect("it is there");
    wait_until(LIMIT, || *shown(&line.0).at("failing") != Json::Null);
    line.upgrade();
    assert_eq!(get(web, "/").text(), "a\n");
    // What it has taken over is what a set is measured by.
    replace(&line.0, "[]");
    wait_until(LIMIT, || *shown(&line.0).at("held_back") != Json::Null);
    assert_eq!(get(web, "/").text(), "a\n");
}

#[test]
fn no_request_fails_while_processes_follow_each_other() {
    let origin = Origin::start("a").expect("a port");
    let line = Line(Gateway::start(BINARY, &config(&[origin.address()])));
    let answered = under_load(line.0.listener("web"), || {
        for _ in 0..rounds(3, 10) {
            line.upgrade();
        }
    });
    assert!(answered >= 2_000, "{answered}");
}

#[test]
fn a_process_that_does_not_come_changes_nothing() {
    let origin = Origin::start("a").expect("a port");
    let text = config(&[origin.address()]);
    let line = Line(Gateway::start(BINARY, &text));
    let web = line.0.listener("web");
    let mut kept = Client::connect(web);
    get_over(&mut kept, "/");
    line.0.reconfigure("rubbish");
    line.0.signal(Signal::Usr2);
    line.0.expect_error_line("the upgrade failed, and this process goes on");
    line.0.expect_error_line("the new process ended with exit code 1");
    assert_eq!(get_over(&mut kept, "/").text(), "a\n");
    assert_eq!(get(web, "/").text(), "a\n");
    // And once the file is right, the next attempt succeeds.
    line.0.reconfigure(&text);
    line.upgrade();
    assert_eq!(get(web, "/").text(), "a\n");
}

#[test]
fn a_listener_that_is_bound_elsewhere_is_drained_by_the_old_and_bound_by_the_new() {
    let text = |bind: &str| {
        format!("[listeners.web]\nbind = \"{bind}\"\n[[routes]]\nrespond = {{ body = \"x\" }}\n")
    };
    let line = Line(Gateway::start(BINARY, &text("127.0.0.1:0")));
    let before = line.0.listener("web");
    line.0.reconfigure(&text("127.0.0.2:0"));
    line.upgrade();
    let moved = |line: &Line| {
        let said = line.0.errors();
        let last = said.iter().rev().find_map(|said| said.strip_prefix("listening on 127.0.0.2:"));
        last.map(str::to_owned)
    };
    assert!(moved(&line).is_some());
    wait_until(LIMIT, || std::net::TcpStream::connect(before).is_err());
}

#[test]
fn who_is_drained_stays_drained() {
    let (a, b) = (Origin::start("a").expect("a port"), Origin::start("b").expect("a port"));
    let line = Line(Gateway::start(BINARY, &config(&[a.address(), b.address()])));
    let (web, admin) = (line.0.listener("web"), line.0.admin());
    let target = format!("/drain?upstream=all&endpoint={}", a.address());
    let text = format!("POST {target} HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    Client::connect(admin).send(text).expect_status(200);
    line.upgrade();
    for _ in 0..4 {
        assert_eq!(get(web, "/").text(), "b\n");
    }
}

#[test]
fn a_pid_file_names_the_process_that_serves() {
    let launch = Launch::new(BINARY, &format!("{DOORS}[[routes]]\nrespond = {{}}\n"));
    let (config, file) =
        (launch.folder().join("gatehouse.toml"), launch.folder().join("gatehouse.pid"));
    let (config, written) = (config.display().to_string(), file.display().to_string());
    let launch = launch.arguments(["run", "-c", &config, "--pid-file", &written]);
    let mut line = Line(launch.start());
    let read = || fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(read(), format!("{}\n", line.0.pid()));
    let process = line.upgrade();
    wait_until(LIMIT, || read() == format!("{}\n", process.as_raw_nonzero()));
    assert_eq!(line.0.wait(LIMIT).code(), Some(0));
    assert_eq!(read(), format!("{}\n", process.as_raw_nonzero()), "the old one left it alone");
    kill_process(process, rustix::process::Signal::TERM).expect("it runs");
    wait_until(LIMIT, || !file.exists());
}

#[test]
fn a_service_manager_is_told_whom_to_watch() {
    use std::os::unix::net::UnixDatagram;
    let folder = Launch::new(BINARY, "");
    let path = folder.folder().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a path");
    manager.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let hears = || {
        let mut room = [0; 256];
        let count = manager.recv(&mut room).expect("a word");
        String::from_utf8_lossy(&room[..count]).into_owned()
    };
    let config = format!("{DOORS}[[routes]]\nrespond = {{}}\n");
    let launch = Launch::new(BINARY, &config);
    let line = Line(launch.variable("NOTIFY_SOCKET", &path.display().to_string()).start());
    assert_eq!(hears(), "READY=1");
    let process = line.upgrade();
    assert_eq!(hears(), format!("MAINPID={}\nREADY=1", process.as_raw_nonzero()));
    let mut line = line;
    assert_eq!(line.0.wait(LIMIT).code(), Some(0));
    // The old one said nothing at its end: the manager would take it for the new one's.
    kill_process(process, rustix::process::Signal::TERM).expect("it runs");
    assert!(hears().starts_with("STOPPING=1"));
}

/// A gateway that was started through a link, whose target the test replaces.
fn linked(config: &str) -> (Launch, PathBuf) {
    let folder = Launch::new(BINARY, "");
    let program = folder.folder().join("gatehouse");
    std::os::unix::fs::symlink(BINARY, &program).expect("a link");
    let text = folder.folder().join("gatehouse.toml");
    fs::write(&text, config).expect("written");
    (folder, program)
}

/// Starts that gateway.
fn through(link: &Path) -> Line {
    let config = link.with_file_name("gatehouse.toml").display().to_string();
    Line(Launch::new(link, "").arguments(["run", "-c", &config]).start())
}

/// Puts a program in its place that never says that it serves, and notes its process in a file.
fn hangs(program: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let noted = program.with_extension("pid");
    let text = format!("#!/bin/sh\necho $$ > '{}'\nexec sleep 600\n", noted.display());
    fs::remove_file(program).expect("it is there");
    fs::write(program, text).expect("written");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("its own");
    noted
}

fn noted(file: &Path) -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(file).ok()?.trim().parse().ok()?)
}

#[test]
fn a_program_that_is_gone_changes_nothing() {
    let origin = Origin::start("a").expect("a port");
    let (_folder, program) = linked(&config(&[origin.address()]));
    let line = through(&program);
    fs::remove_file(&program).expect("it is there");
    line.0.signal(Signal::Usr2);
    line.0.expect_error_line("the upgrade failed, and this process goes on");
    assert_eq!(get(line.0.listener("web"), "/").text(), "a\n");
    std::os::unix::fs::symlink(BINARY, &program).expect("a link");
    line.upgrade();
    assert_eq!(get(line.0.listener("web"), "/").text(), "a\n");
}

#[test]
fn a_process_that_is_never_ready_is_ended_in_time() {
    let origin = Origin::start("a").expect("a port");
    let (_folder, program) = linked(&config(&[origin.address()]));
    let line = through(&program);
    let file = hangs(&program);
    line.0.signal(Signal::Usr2);
    wait_until(LIMIT, || noted(&file).is_some());
    // Nothing else is begun meanwhile, and whoever asks is answered.
    line.0.signal(Signal::Usr2);
    line.0.expect_error_line("no upgrade: a new process is on its way");
    assert_eq!(get(line.0.listener("web"), "/").text(), "a\n");
    let told = || line.0.errors().iter().any(|said| said.contains("was not ready within 30 s"));
    wait_until(4 * LIMIT, told);
    assert!(Line::has_ended(noted(&file).expect("a process")));
    assert_eq!(get(line.0.listener("web"), "/").text(), "a\n");
}

#[test]
fn whoever_is_told_to_end_ends_the_process_that_was_to_follow() {
    let origin = Origin::start("a").expect("a port");
    let (_folder, program) = linked(&config(&[origin.address()]));
    let mut line = through(&program);
    let file = hangs(&program);
    line.0.signal(Signal::Usr2);
    wait_until(LIMIT, || noted(&file).is_some());
    let mut slow = Client::connect(line.0.listener("web"));
    slow.send(request("GET", "/slow/1000", ""));
    wait_until(LIMIT, || scrape(&line.0).sum("endpoint_requests_in_flight", &[]) == 1);
    line.0.signal(Signal::Term);
    assert_eq!(slow.expect_status(200).text(), "a\n");
    assert_eq!(line.0.wait(LIMIT).code(), Some(0));
    wait_until(LIMIT, || Line::has_ended(noted(&file).expect("a process")));
}

/// It ends at once, having nothing to do, and leaves nobody behind who holds its sockets.
#[test]
fn whoever_is_told_to_end_and_is_idle_leaves_no_process_behind() {
    let origin = Origin::start("a").expect("a port");
    for _ in 0..5 {
        let (_folder, program) = linked(&config(&[origin.address()]));
        let mut line = through(&program);
        let file = hangs(&program);
        line.0.signal(Signal::Usr2);
        wait_until(LIMIT, || noted(&file).is_some());
        line.0.signal(Signal::Term);
        assert_eq!(line.0.wait(LIMIT).code(), Some(0));
        assert!(Line::has_ended(noted(&file).expect("a process")));
    }
}
