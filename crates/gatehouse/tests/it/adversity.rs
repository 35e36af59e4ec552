//! What befalls a machine: a process that stands still, a clock that jumps, clients that take as
//! long as they can. Each has a behaviour that is named here.

use crate::front::{BINARY, DOORS, LIMIT, get, get_over, request, routes, scrape};
use crate::json::Json;
use crate::reluctant::origin_of_much;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::script::Client;
use gatehouse_rig::slow::Slow;
use gatehouse_rig::wait_until;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any patience of the configuration below.
const STANDSTILL: Duration = Duration::from_secs(10);

/// A gateway that waits for nobody longer than 3 s.
fn impatient(origin: &Origin) -> String {
    let limits = "limits = { head-timeout = \"3s\", idle-timeout = \"3s\" }\n";
    let timeout = "timeout = { connect = \"3s\", first-byte = \"3s\", idle = \"3s\" }\n";
    let routes = routes(&[origin.address()]);
    let routes = routes.replace("upstream = \"all\"\n", &format!("upstream = \"all\"\n{timeout}"));
    format!("{DOORS}{limits}{routes}")
}

/// Lets time pass that nothing happens in.
fn stand_still(gateway: &Gateway, meanwhile: impl FnOnce()) {
    let end = Instant::now() + STANDSTILL;
    gateway.signal(Signal::Stop);
    // A thread may run on for a moment, and would stop with work half done.
    wait_until(LIMIT, || is_stopped(gateway.pid()));
    meanwhile();
    wait_until(2 * STANDSTILL, || Instant::now() >= end);
    gateway.signal(Signal::Cont);
}

/// Whether every thread of a process stands still.
fn is_stopped(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    threads.map(|thread| thread.expect("a thread").path().join("stat")).all(|path| {
        let stat = fs::read_to_string(path).expect("its state");
        // The name before it may hold anything but this.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

/// An upstream of which a check is under way nearly always; the patience of one is shorter than the
/// standstill.
fn checked(origins: &[Origin]) -> String {
    let endpoints: Vec<String> =
        origins.iter().map(|one| format!("{:?}", one.address().to_string())).collect();
    format!(
        "[[routes]]\nhost = \"checked\"\nupstream = \"checked\"\n[upstreams.checked]\n\
         endpoints = [{}]\n[upstreams.checked.health]\npath = \"/slow/500\"\n\
         interval = \"50ms\"\ntimeout = \"3s\"\nunhealthy-after = 1\n",
        endpoints.join(", ")
    )
}

/// What came in time, or while nobody could look, is not late because the gateway looks late.
#[test]
fn a_gateway_that_stood_still_for_ten_seconds_answers_what_came_meanwhile() {
    let origin = Origin::start("a").expect("a port");
    let well = ["b", "c"].map(|name| Origin::start(name).expect("a port"));
    let gateway = Gateway::start(BINARY, &(impatient(&origin) + &checked(&well)));
    wait_until(LIMIT, || well.iter().all(|one| one.requests() > 2));
    let web = gateway.listener("web");
    let (mut kept, mut waiting, mut fresh) =
        (Client::connect(web), Client::connect(web), Client::connect(web));
    get_over(&mut kept, "/");
    // Its answer comes while the gateway stands still.
    waiting.send(request("GET", "/slow/500", ""));
    wait_until(LIMIT, || origin.requests() == 2);
    let mut late = None;
    stand_still(&gateway, || {
        kept.send(request("GET", "/bytes/5", ""));
        fresh.send(request("GET", "/bytes/6", ""));
        late = Some(Client::connect(web));
        late.as_mut().map(|late| late.send(request("GET", "/bytes/7", "")));
    });
    assert_eq!(waiting.expect_status(200).text(), "a\n");
    assert_eq!(kept.expect_status(200).body.len(), 5);
    assert_eq!(fresh.expect_status(200).body.len(), 6);
    assert_eq!(late.expect("it connected").expect_status(200).body.len(), 7);
    assert_eq!(get(web, "/bytes/1000").body.len(), 1000);
    assert_eq!(scrape(&gateway).sum("requests_total", &["status=\"5xx\""]), 0);
    // Nor is anybody called unhealthy for a check that nobody looked at.
    let checks = well.each_ref().map(Origin::requests);
    wait_until(LIMIT, || well.iter().zip(checks).all(|(one, before)| one.requests() > before + 3));
    let said = gateway.errors();
    assert!(!said.iter().any(|line| line.contains("unhealthy")), "{said:?}");
    assert_eq!(scrape(&gateway).sum("endpoint_ready", &["upstream=\"checked\""]), 2);
}

/// Where Debian keeps the library.
fn faketime() -> PathBuf {
    let paths = ["x86_64-linux-gnu", "aarch64-linux-gnu", ""];
    let path = |of: &str| Path::new("/usr/lib").join(of).join("faketime/libfaketimeMT.so.1");
    let found = paths.into_iter().map(path).find(|path| path.exists());
    found.expect("libfaketime, which .ci/setup installs")
}

/// The year in an answer's `Date`.
#[track_caller]
fn year(client: &mut Client) -> u32 {
    let answer = get_over(client, "/");
    let date = answer.field("date").expect("a date").to_owned();
    date.split(' ').nth(3).and_then(|year| year.parse().ok()).expect("a year")
}

/// Every wait is measured by a clock that cannot be set; only what is shown follows the other one.
#[test]
fn a_clock_that_jumps_ten_years_ends_no_wait_and_cuts_nobody() {
    let origin = Origin::start("a").expect("a port");
    let launch = Launch::new(BINARY, &impatient(&origin)).file("clock", "+0d");
    let clock = launch.folder().join("clock");
    let gateway = launch
        .variable("LD_PRELOAD", &faketime().to_string_lossy())
        .variable("FAKETIME_TIMESTAMP_FILE", &clock.to_string_lossy())
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    let web = gateway.listener("web");
    let mut kept = Client::connect(web);
    let before = year(&mut kept);
    for (jump, years) in [("+3653d", 10), ("-3653d", -10), ("+0d", 0)] {
        let mut waiting = Client::connect(web);
        let asked = origin.requests();
        waiting.send(request("GET", "/slow/1500", ""));
        wait_until(LIMIT, || origin.requests() > asked);
        fs::write(&clock, jump).expect("a file");
        let mut idle = kept;
        wait_until(LIMIT, || i64::from(year(&mut idle)) == i64::from(before) + years);
        kept = idle;
        assert_eq!(waiting.expect_status(200).text(), "a\n", "{jump}");
        // What is logged from now on has the time of now.
        let path = format!("/logged{jump}");
        get_over(&mut kept, &path);
        let logged = || gateway.output().into_iter().find(|line| line.contains(&path));
        wait_until(LIMIT, || logged().is_some());
        let line = logged().map(|line| Json::read(&line)).expect("a line");
        let time = line.text("time");
        let of = time.get(..4).and_then(|year| year.parse::<i64>().ok());
        assert_eq!(of, Some(i64::from(before) + years), "{jump}: {time}");
    }
    let samples = scrape(&gateway);
    assert_eq!(samples.sum("requests_total", &["status=\"5xx\""]), 0);
    assert_eq!(samples.sum("requests_total", &["status=\"4xx\""]), 0);
}

/// How many of each kind; the full figure is `rig slow`'s.
const SLOW: usize = 200;

#[test]
fn slow_senders_and_slow_readers_are_noticed_by_nobody_and_sent_away() {
    // Their origin is theirs alone: it is the gateway that is looked at.
    let (origin, theirs) = (Origin::start("a").expect("a port"), origin_of_much());
    let address = theirs.address();
    let beside =
        format!("[[routes]]\nhost = \"slow\"\nupstream = {{ endpoints = [\"{address}\"] }}\n");
    let gateway = Gateway::start(BINARY, &(impatient(&origin) + &beside));
    let web = gateway.listener("web");
    let before = gateway.resident_bytes();
    let slow = thread::spawn(move || {
        let mut slow = Slow::open(web, SLOW, SLOW).expect("they connect");
        let opened = slow.open_now();
        // Their grace, and what is too slow behind it.
        slow.go_on(Duration::from_secs(14));
        (opened, slow.senders())
    });
    let mut client = Client::connect(web);
    let mut longest = Duration::ZERO;
    let mut asked = 0;
    while !slow.is_finished() {
        let begun = Instant::now();
        assert_eq!(get_over(&mut client, "/bytes/1000").body.len(), 1000);
        longest = longest.max(begun.elapsed());
        asked += 1;
    }
    let (opened, senders) = slow.join().expect("slow clients that did not panic");
    let grown = gateway.resident_bytes_max().saturating_sub(before);
    println!("{asked} requests, the longest {longest:?}; {grown} bytes for {opened} slow clients");
    assert_eq!(opened, 2 * SLOW);
    assert_eq!(senders, 0, "a byte a second is less than the least rate of a body");
    assert!(asked > 1000 && longest < Duration::from_secs(1), "{asked}, {longest:?}");
    assert!(grown < 2 * SLOW as u64 * 300 * 1024, "{grown} bytes");
    wait_until(LIMIT, || scrape(&gateway).sum("requests_in_flight", &[]) == 0);
}
