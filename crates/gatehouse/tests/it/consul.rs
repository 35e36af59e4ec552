//! Endpoints that are instances of a service of Consul's, by its API as it is documented.

use crate::front::{BINARY, DOORS, LIMIT, ask_admin, get, run};
use crate::json::Json;
use gatehouse_rig::consul::{Consul, Mood};
use gatehouse_rig::origin::{Origin, Reserved};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A gateway whose endpoints are instances of `users`.
fn config(consul: SocketAddr, more: &str) -> String {
    format!(
        "{DOORS}[log]\naccess = {{ format = \"off\" }}\n[[routes]]\nname = \"all\"\n\
         upstream = \"users\"\n[upstreams.users]\nretry = 0\n\
         [upstreams.users.discovery]\nmin-healthy = \"0%\"\n\
         [upstreams.users.discovery.consul]\nserver = \"http://{consul}\"\nservice = \"users\"\n{more}"
    )
}

fn origins<const N: usize>() -> [Origin; N] {
    std::array::from_fn(|at| Origin::start(&format!("o{at}")).expect("a port"))
}

/// An instance as Consul shows it, its checks passing.
fn instance(at: SocketAddr, more: &str) -> String {
    format!(
        "{{\"Node\": {{\"Node\": \"n1\", \"Address\": \"127.0.0.1\"}}, \
         \"Service\": {{\"ID\": \"u-{}\", \"Service\": \"users\", \"Port\": {}{more}}}, \
         \"Checks\": [{{\"Status\": \"passing\"}}]}}",
        at.port(),
        at.port()
    )
}

fn list(origins: &[&Origin]) -> String {
    let all: Vec<String> = origins.iter().map(|one| instance(one.address(), "")).collect();
    format!("[{}]", all.join(","))
}

fn who(gateway: &Gateway) -> BTreeSet<String> {
    let web = gateway.listener("web");
    (0..12).map(|_| get(web, "/").text().trim().to_owned()).collect()
}

#[track_caller]
fn await_who(gateway: &Gateway, names: &[&str]) {
    let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    wait_until(LIMIT, || who(gateway) == wanted);
}

/// What `/status` says of the one source.
fn source(gateway: &Gateway) -> String {
    let status = Json::read(&ask_admin(gateway.admin(), "/status").text());
    format!("{:?}", status.at("discovery"))
}

#[test]
fn instances_come_and_go_by_blocking_queries_over_one_connection() {
    let consul = Consul::start();
    let [one, two] = origins();
    consul.list(&list(&[&one]), 7);
    let gateway = Gateway::start(BINARY, &config(consul.address(), ""));
    assert_eq!(get(gateway.listener("web"), "/").text().trim(), "o0", "from the first request on");
    wait_until(LIMIT, || consul.asked().len() == 2);
    assert_eq!(consul.asked()[0], "GET /v1/health/service/users?passing=1 HTTP/1.1");
    let waits = "GET /v1/health/service/users?passing=1&index=7&wait=15s HTTP/1.1";
    assert_eq!(consul.asked()[1], waits);
    let since = Instant::now();
    consul.list(&list(&[&one, &two]), 8);
    await_who(&gateway, &["o0", "o1"]);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    consul.list(&list(&[&two]), 12);
    await_who(&gateway, &["o1"]);
    wait_until(LIMIT, || consul.asked().last().is_some_and(|asked| asked.contains("&index=12&")));
    assert_eq!((consul.asked().len(), consul.connections()), (4, 1), "{:?}", consul.asked());
}

#[test]
fn weights_zones_tags_and_tokens_go_where_they_belong() {
    let consul = Consul::start();
    let [one, two] = origins();
    let heavy = ", \"Address\": \"127.0.0.1\", \"Weights\": {\"Passing\": 3, \"Warning\": 1}, \
                 \"Meta\": {\"zone\": \"z1\"}";
    let both = [instance(one.address(), ""), instance(two.address(), heavy)];
    consul.list(&format!("[{}]", both.join(",")), 2);
    let more =
        "tag = [\"v2\", \"a b\"]\ndatacenter = \"dc2\"\ntoken = \"hunter2\"\npassing = false\n";
    let gateway = Gateway::start(BINARY, &config(consul.address(), more));
    await_who(&gateway, &["o0", "o1"]);
    let asked = "GET /v1/health/service/users?tag=v2&tag=a%20b&dc=dc2 HTTP/1.1 hunter2";
    assert_eq!(consul.asked()[0], asked);
    let before = two.requests();
    (0..40).for_each(|_| drop(get(gateway.listener("web"), "/")));
    assert_eq!(two.requests() - before, 30, "by its weight");
    let shown = source(&gateway);
    assert!(shown.contains("z1") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn an_index_that_goes_backwards_is_forgotten() {
    let consul = Consul::start();
    let [one, two, three] = origins();
    consul.list(&list(&[&one]), 900);
    let gateway = Gateway::start(BINARY, &config(consul.address(), ""));
    await_who(&gateway, &["o0"]);
    wait_until(LIMIT, || consul.asked().len() == 2);
    // As after a restore: its answers say 5, and then 6. Who goes on to ask at 900 for what is
    // other than that spins, or misses what comes.
    consul.list(&list(&[&two]), 5);
    await_who(&gateway, &["o1"]);
    wait_until(LIMIT, || consul.asked().len() >= 4);
    let asked = consul.asked();
    assert!(!asked[2].contains("index="), "it asks anew, at once: {asked:?}");
    assert!(asked[3].contains("&index=5&"), "{asked:?}");
    consul.list(&list(&[&three]), 6);
    await_who(&gateway, &["o2"]);
}

#[test]
fn an_index_of_0_is_never_waited_at_and_nothing_spins() {
    let consul = Consul::start();
    let [one, two] = origins();
    consul.list(&list(&[&one]), 0);
    let gateway = Gateway::start(BINARY, &config(consul.address(), ""));
    await_who(&gateway, &["o0"]);
    let (since, before) = (Instant::now(), consul.asked().len());
    consul.list(&list(&[&two]), 0);
    await_who(&gateway, &["o1"]);
    wait_until(LIMIT, || consul.asked().len() >= before + 3);
    let most = since.elapsed().as_millis() / 1_000 + 2;
    let asked = (consul.asked().len() - before) as u128;
    assert!(asked <= most, "{asked} questions in {:?}", since.elapsed());
    assert!(!consul.asked().iter().any(|asked| asked.contains("index=")));
}

#[test]
fn errors_of_every_kind_keep_the_last_good_instances_and_say_which() {
    let consul = Consul::start();
    let [one, two] = origins();
    consul.list(&list(&[&one, &two]), 3);
    let gateway = Gateway::start(BINARY, &config(consul.address(), ""));
    await_who(&gateway, &["o0", "o1"]);
    let at = format!("http://{}", consul.address());
    let huge = [&b"HTTP/1.1 200 OK\r\nX-Consul-Index: 9\r\n\r\n["[..], &[b' '; 33 << 20]].concat();
    let bytes = |text: &str| Mood::Bytes(text.as_bytes().to_vec());
    let body = |head: &str, body: &str| {
        let head = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n", body.len());
        Mood::Bytes((head + body).into_bytes())
    };
    for (mood, said) in [
        (Mood::Status(500, "No cluster leader\n".to_owned()), "status 500: No cluster leader"),
        (Mood::Status(403, "Permission denied".to_owned()), "it wants a token; set `token`"),
        (bytes("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n[{"), "closed before its answer"),
        (bytes("!"), "no HTTP answer: "),
        (body("X-Consul-Index: 9\r\n", "<html>"), "its answer is not JSON"),
        (body("X-Consul-Index: 9\r\n", "{}"), "no list of instances: is it Consul?"),
        (body("", "[]"), "no X-Consul-Index: is it Consul?"),
        (Mood::Bytes(huge), "its answer is too long"),
    ] {
        consul.set_mood(mood);
        wait_until(Duration::from_secs(20), || {
            let shown = source(&gateway);
            shown.contains(said) && shown.contains(&at)
        });
        assert_eq!(who(&gateway), BTreeSet::from(["o0".to_owned(), "o1".to_owned()]), "{said}");
    }
    gateway.expect_error_line("; the last good endpoints stay, 2");
    consul.set_mood(Mood::Well);
    consul.list(&list(&[&two]), 4);
    await_who(&gateway, &["o1"]);
    gateway.expect_error_line("answers again");
}

#[test]
fn a_consul_that_goes_and_comes_back_is_found_again_and_no_connection_leaks() {
    let place = Reserved::new(([127, 0, 0, 1], 0).into()).expect("a port");
    let at = place.address();
    let consul = Consul::start_at(at);
    let [one, two] = origins();
    consul.list(&list(&[&one]), 3);
    let gateway = Gateway::start(BINARY, &config(at, ""));
    await_who(&gateway, &["o0"]);
    let open =
        || std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("it runs").count();
    let before = open();
    drop(consul);
    gateway.expect_error_line("; the last good endpoints stay, 1");
    await_who(&gateway, &["o0"]);
    for round in 0..3 {
        let consul = Consul::start_at(at);
        let (only, name) = if round % 2 == 0 { (&two, "o1") } else { (&one, "o0") };
        consul.list(&list(&[only]), 3);
        await_who(&gateway, &[name]);
    }
    // What requests keep open is closed in its own time.
    wait_until(LIMIT, || open() <= before + 8);
}

#[test]
fn an_instance_that_is_none_is_named_and_a_service_that_nobody_has_too() {
    let consul = Consul::start();
    let [one] = origins();
    let gateway = Gateway::start(BINARY, &config(consul.address(), ""));
    gateway.expect_error_line("service users: there is no instance that passes its checks");
    let all = [
        instance(one.address(), ""),
        instance(one.address(), ", \"Address\": \"no host\"").replace("u-", "bad-"),
        "{\"Service\": {\"ID\": \"portless\", \"Address\": \"10.0.0.1\"}}".to_owned(),
    ];
    consul.list(&format!("[{}]", all.join(",")), 2);
    await_who(&gateway, &["o0"]);
    gateway.expect_error_line("instance portless is left out: it has no port");
    gateway.expect_error_line("service users, instance bad-");
}

#[test]
fn a_server_that_answers_at_once_whatever_it_is_asked_is_asked_once_a_second() {
    let [one] = origins();
    let body = list(&[&one]);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nX-Consul-Index: 5\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let hasty = ScriptedOrigin::each(Script::new().expect_head().send(answer).times(4));
    let gateway = Gateway::start(BINARY, &config(hasty.address(), ""));
    let since = Instant::now();
    hasty.expect_done(1);
    assert!(since.elapsed() > Duration::from_millis(1_900), "{:?}", since.elapsed());
    await_who(&gateway, &["o0"]);
}

#[test]
fn a_token_in_a_file_is_read_when_it_is_needed() {
    let consul = Consul::start();
    let [one] = origins();
    consul.list(&list(&[&one]), 3);
    let name = format!("gatehouse-consul-token-{}", std::process::id());
    let file = std::env::temp_dir().join(name);
    let more = format!("token = {{ file = \"{}\" }}\n", file.display());
    let gateway = Gateway::start(BINARY, &config(consul.address(), &more));
    gateway.expect_error_line(&format!("{}: ", file.display()));
    std::fs::write(&file, "hunter2\n").expect("written");
    await_who(&gateway, &["o0"]);
    std::fs::remove_file(&file).expect("it is there");
    assert!(consul.asked()[0].ends_with(" hunter2"));
}

#[test]
fn what_is_wrong_in_the_configuration_is_said() {
    let folder = std::env::temp_dir().join(format!("gatehouse-consul-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let check = |consul: &str| {
        let text = format!(
            "[listeners.web]\nbind = \":0\"\n[[routes]]\nupstream = \"users\"\n\
             [upstreams.users]\ndiscovery = {{ consul = {{ {consul} }} }}\n"
        );
        std::fs::write(folder.join("gatehouse.toml"), text).expect("written");
        let output = run(&["check"], &folder);
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let sound = "server = \"http://127.0.0.1:8500\", service = \"users\"";
    for (text, said) in [
        ("service = \"users\"", "server"),
        ("server = \"http://127.0.0.1:8500\"", "service"),
        ("server = \"consul:8500\", service = \"users\"", "a server is written as a URL"),
        ("server = \"http://127.0.0.1:8500\", service = \"\"", "no service"),
        (&format!("{sound}, token = \"\""), "`token` is no secret"),
        (&format!("{sound}, etcd = 1"), "etcd"),
        (&format!("{sound} }}, file = {{ path = \"x\""), "does not apply beside"),
    ] {
        let all = check(text);
        assert!(all.contains(said), "{text}: {all}");
    }
    let all = check(sound);
    assert!(!all.contains("error"), "{all}");
    std::fs::remove_dir_all(&folder).expect("it is there");
}
