//! A gateway in a cgroup with a limit on memory, which others fill too: it is not killed, and
//! serves as far as it can. Where no cgroup can be made there is nothing to see.

use crate::front::{BINARY, LIMIT, get, routes, scrape};
use crate::reluctant::{KEPT, origin_of_much, reads_nothing};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch};
use gatehouse_rig::wait_until;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const MIB: u64 = 1 << 20;

/// A group within that of the tests, removed at the end.
struct Group(PathBuf);

impl Group {
    fn make(limit: u64) -> Option<Group> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let root = Path::new("/sys/fs/cgroup");
        let around = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let path = path.trim_start_matches('/');
            match controllers.split(',').any(|one| one == "memory") {
                true => Some(root.join("memory").join(path)),
                false => (controllers.is_empty() && root.join("cgroup.procs").exists())
                    .then(|| root.join(path)),
            }
        })?;
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let group = Group(around.join(format!("gatehouse-test-{}-{next}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        let limits = ["memory.max", "memory.limit_in_bytes"].map(|name| group.0.join(name));
        let limited = limits.iter().any(|file| {
            // Opened rather than made: a file of another name is not a limit.
            file.exists() && fs::write(file, limit.to_string()).is_ok()
        });
        drop(fs::write(group.0.join("memory.swap.max"), "0"));
        limited.then_some(group)
    }

    /// What a shell is told so that it becomes a program in the group.
    fn enter(&self, program: &str) -> String {
        format!("echo $$ > '{}' && exec {program}", self.0.join("cgroup.procs").display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever was in it has been waited for, but the kernel may not have put it away.
        let gone = || fs::remove_dir(&self.0).is_ok();
        if !gone() && !std::thread::panicking() {
            wait_until(LIMIT, gone);
        }
    }
}

/// Somebody else in the group, who holds so much memory. Dropping this ends it.
struct Neighbour(Child);

impl Neighbour {
    fn start(group: &Group, bytes: u64) -> Neighbour {
        // A line that does not end is kept until it does.
        let script = group.enter(&format!("tail -c {bytes}"));
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        let mut input = child.stdin.take().expect("it is piped");
        std::io::copy(&mut std::io::Read::take(std::io::repeat(b'x'), bytes), &mut input)
            .expect("it is taken");
        child.stdin = Some(input);
        Neighbour(child)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start(group: &Group, origin: &Origin) -> Gateway {
    let config = format!(
        "workers = 2\nlimits = {{ memory = \"120MiB\" }}\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [log]\naccess = {{ format = \"off\" }}\n[listeners.web]\nbind = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"low\"\npath = \"/low\"\npriority = \"low\"\nupstream = \"all\"\n{}",
        routes(&[origin.address()])
    );
    let script = group.enter(&format!("'{BINARY}' run -c gatehouse.toml"));
    Launch::new("sh", &config).arguments(["-c", &script]).start()
}

fn pressure(gateway: &Gateway) -> u64 {
    scrape(gateway).sum("memory_pressure", &[])
}

#[test]
fn load_is_shed_before_a_group_that_is_shared_is_full() {
    let Some(group) = Group::make(128 * MIB) else { return eprintln!("no cgroup can be made") };
    let origin = origin_of_much();
    let _neighbour = Neighbour::start(&group, 64 * MIB);
    let mut gateway = start(&group, &origin);
    let (mut readers, mut shed) = (Vec::new(), 0);
    while shed < 20 && readers.len() < 3_000 {
        assert!(!gateway.has_ended(), "it was killed with {} readers", readers.len());
        let (client, answer) = reads_nothing(&gateway, KEPT);
        match answer.status {
            200 => readers.push(client),
            503 => shed += 1,
            other => panic!("status {other}"),
        }
    }
    assert_eq!(shed, 20, "{} slow readers were too few", readers.len());
    gateway.expect_error_line("warn: memory of its cgroup is short");
    drop(readers);
    wait_until(LIMIT, || pressure(&gateway) == 0);
    assert_eq!(get(gateway.listener("web"), "/").status, 200);
}

#[test]
fn a_group_that_others_have_filled_costs_the_least_important_alone() {
    let Some(group) = Group::make(128 * MIB) else { return eprintln!("no cgroup can be made") };
    let origin = Origin::start("a").expect("a port");
    let gateway = start(&group, &origin);
    let neighbour = Neighbour::start(&group, 104 * MIB);
    wait_until(LIMIT, || pressure(&gateway) > 0);
    for _ in 0..20 {
        assert_eq!(pressure(&gateway), 1);
        assert_eq!(get(gateway.listener("web"), "/").status, 200);
        assert_eq!(get(gateway.listener("web"), "/low").status, 503);
    }
    drop(neighbour);
    wait_until(LIMIT, || pressure(&gateway) == 0);
    assert_eq!(get(gateway.listener("web"), "/low").status, 200);
}
