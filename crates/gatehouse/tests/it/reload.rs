//! Changing the configuration of a running gateway: what changes, what stays, and what a file
//! that is wrong does not do.

use crate::exposition;
use crate::front::{
    BINARY, DOORS, LIMIT, ask_admin, config, get, get_over, post, request, run, scrape, start,
};
use crate::json::Json;
use crate::load::{rounds, under_load};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::script::{Client, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::net::SocketAddr;

/// One route that answers by itself.
fn says(body: &str) -> String {
    format!("{DOORS}[[routes]]\nname = \"all\"\nrespond = {{ body = \"{body}\" }}\n")
}

/// Puts a configuration in force, and says what the gateway said.
#[track_caller]
fn reload(gateway: &Gateway, config: &str) -> String {
    gateway.reconfigure(config);
    let answer = post(gateway.admin(), "/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

fn status(gateway: &Gateway) -> Json {
    Json::read(&ask_admin(gateway.admin(), "/status").text())
}

/// Waits until the gateway has taken over a change that was asked for by a signal.
#[track_caller]
fn await_generation(gateway: &Gateway, generation: u64) {
    wait_until(LIMIT, || scrape(gateway).sum("config_generation", &[]) == generation);
}

#[test]
fn defect_15_a_change_needs_no_restart() {
    let gateway = Gateway::start(BINARY, &says("one"));
    let mut kept = Client::connect(gateway.listener("web"));
    assert_eq!(get_over(&mut kept, "/").text(), "one");
    gateway.reconfigure(&says("two"));
    gateway.signal(Signal::Hup);
    await_generation(&gateway, 2);
    gateway.expect_error_line("reloaded");
    assert_eq!(get_over(&mut kept, "/").text(), "two");
    assert_eq!(get(gateway.listener("web"), "/").text(), "two");
}

#[test]
fn an_answer_to_a_reload_says_what_was_kept_added_changed_and_drained() {
    let part = |routes: &str, endpoints: &str| {
        format!("{DOORS}{routes}[upstreams.all]\nendpoints = [{endpoints}]\n")
    };
    let route = |name: &str, path: &str| {
        format!("[[routes]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"all\"\n")
    };
    let old = [route("a", "/a"), route("b", "/b"), route("c", "/c")].concat();
    let new = [route("a", "/a"), route("b", "/b2"), route("d", "/d")].concat();
    let gateway = Gateway::start(BINARY, &part(&old, "\"127.0.0.1:1\", \"127.0.0.1:2\""));
    gateway.reconfigure(&part(&new, "\"127.0.0.1:2\", \"127.0.0.1:3\""));
    let answer = post(gateway.admin(), "/reload", "Accept: application/json\r\n");
    assert_eq!(answer.status, 200);
    let json = Json::read(&answer.text());
    let names = |kind: &str, what: &str| -> Vec<String> {
        let texts = json.at(kind).list(what).iter().map(|name| match name {
            Json::Text(name) => name.clone(),
            other => panic!("no text: {other:?}"),
        });
        texts.collect()
    };
    assert_eq!(names("routes", "kept"), ["a"]);
    assert_eq!(names("routes", "changed"), ["b"]);
    assert_eq!(names("routes", "added"), ["d"]);
    assert_eq!(names("routes", "drained"), ["c"]);
    assert_eq!(names("listeners", "kept"), ["web"]);
    assert_eq!(names("upstreams", "kept"), ["all"]);
    assert_eq!(names("endpoints", "kept"), ["all 127.0.0.1:2"]);
    assert_eq!(names("endpoints", "added"), ["all 127.0.0.1:3"]);
    assert_eq!(names("endpoints", "drained"), ["all 127.0.0.1:1"]);
}

#[test]
fn a_bad_file_changes_nothing_and_says_why_as_check_does() {
    let gateway = Gateway::start(BINARY, &says("one"));
    let bad = says("two").replace("respond", "responds");
    gateway.reconfigure(&bad);
    let checked = run(&["check"], gateway.folder());
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    let answer = post(gateway.admin(), "/reload", "");
    assert_eq!(answer.status, 422);
    let told = answer.text();
    // Only the name of the file is another: check was called in its folder.
    for line in said.lines().filter(|line| !line.contains("gatehouse.toml")) {
        assert!(told.contains(line), "{line:?} is not in {told}");
    }
    assert!(told.contains("did you mean `respond`?"), "{told}");
    gateway.expect_error_line("error: the reload failed and has changed nothing");
    gateway.expect_error_line("did you mean `respond`?");
    assert_eq!(get(gateway.listener("web"), "/").text(), "one");
    let shown = status(&gateway);
    let failed = shown.at("config").at("last_failed_reload");
    assert!(failed.text("message").contains("did you mean `respond`?"));
    let samples = scrape(&gateway);
    exposition::check(&samples.0);
    assert_eq!(samples.sum("config_generation", &[]), 1);
    assert_eq!(samples.sum("config_last_reload_failed", &[]), 1);
    assert_eq!(samples.sum("config_reload_failures_total", &[]), 1);
    // The command finds the gateway by a file that is wrong elsewhere, and lets it judge that.
    let admin = |bind: &str| format!("[admin]\nbind = \"{bind}\"");
    let named = bad.replace(&admin("127.0.0.1:0"), &admin(&gateway.admin().to_string()));
    gateway.reconfigure(&named);
    let told = run(&["reload"], gateway.folder());
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("did you mean `respond`?"), "{told}");
    assert_eq!(scrape(&gateway).sum("config_reload_failures_total", &[]), 2);
    reload(&gateway, &says("two"));
    assert_eq!(get(gateway.listener("web"), "/").text(), "two");
    assert_eq!(scrape(&gateway).sum("config_last_reload_failed", &[]), 0);
}

#[test]
fn a_file_that_is_gone_or_half_written_changes_nothing() {
    let gateway = Gateway::start(BINARY, &says("one"));
    for text in ["", "[listeners.web]\nbind = \"127.0.", "\u{0}"] {
        gateway.reconfigure(text);
        assert_eq!(post(gateway.admin(), "/reload", "").status, 422, "{text:?}");
    }
    std::fs::remove_file(gateway.folder().join("gatehouse.toml")).expect("it is there");
    assert_eq!(post(gateway.admin(), "/reload", "").status, 500);
    assert_eq!(get(gateway.listener("web"), "/").text(), "one");
}

#[test]
fn another_number_of_workers_is_refused_whole() {
    let gateway = Gateway::start(BINARY, &format!("workers = 1\n{}", says("one")));
    gateway.reconfigure(&format!("workers = 2\n{}", says("two")));
    let answer = post(gateway.admin(), "/reload", "");
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("workers: 1 run and the file wants 2"), "{}", answer.text());
    assert_eq!(get(gateway.listener("web"), "/").text(), "one");
}

#[test]
fn nothing_is_changed_by_get_or_by_a_page_of_another_origin() {
    let gateway = Gateway::start(BINARY, &says("one"));
    gateway.reconfigure(&says("two"));
    let admin = gateway.admin();
    for target in ["/reload", "/undrain?upstream=a&endpoint=b"] {
        assert_eq!(ask_admin(admin, target).status, 405, "{target}");
    }
    for fields in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://127.0.0.1\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        assert_eq!(post(admin, "/reload", fields).status, 403, "{fields}");
        assert_eq!(post(admin, "/drain?upstream=a&endpoint=b", fields).status, 403, "{fields}");
    }
    assert_eq!(get(gateway.listener("web"), "/").text(), "one");
    let own = format!("Origin: http://{admin}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(post(admin, "/reload", &own).status, 200);
    assert_eq!(get(gateway.listener("web"), "/").text(), "two");
}

#[test]
fn connections_to_an_endpoint_that_stays_are_kept() {
    let (a, b) = (Origin::start("a").expect("a port"), Origin::start("b").expect("a port"));
    let one_worker = |endpoints: &[SocketAddr]| format!("workers = 1\n{}", config(endpoints));
    let gateway = Gateway::start(BINARY, &one_worker(&[a.address()]));
    let mut client = Client::connect(gateway.listener("web"));
    get_over(&mut client, "/");
    for round in 0..10 {
        let both = [a.address(), b.address()];
        reload(&gateway, &one_worker(if round % 2 == 0 { &both } else { &both[..1] }));
        for _ in 0..4 {
            assert_eq!(get_over(&mut client, "/").status, 200);
        }
    }
    assert_eq!(a.connections(), 1, "its pool was lost on the way");
    assert!(a.requests() > 20);
    assert_eq!(
        scrape(&gateway).sum("endpoint_requests_total", &[&a.address().to_string()]),
        a.requests()
    );
}

#[test]
fn a_route_put_before_others_moves_nobodys_connections() {
    let (a, b) = (Origin::start("a").expect("a port"), Origin::start("b").expect("a port"));
    let route = |path: &str, origin: &Origin| {
        let address = origin.address();
        format!("[[routes]]\npath = \"{path}\"\nupstream = {{ endpoints = [\"{address}\"] }}\n")
    };
    let text = |routes: &[String]| format!("workers = 1\n{DOORS}{}", routes.concat());
    let gateway = Gateway::start(BINARY, &text(&[route("/a/*", &a)]));
    let mut client = Client::connect(gateway.listener("web"));
    assert_eq!(get_over(&mut client, "/a/").text(), "a\n");
    let said = reload(&gateway, &text(&[route("/b/*", &b), route("/a/*", &a)]));
    assert!(said.contains("upstreams: 1 kept, 1 added (route-1)"), "{said}");
    assert_eq!(get_over(&mut client, "/a/").text(), "a\n");
    assert_eq!(get_over(&mut client, "/b/").text(), "b\n");
    assert_eq!(a.connections(), 1);
}

#[test]
fn a_tunnel_survives_a_reload_that_takes_its_route_away() {
    const ASK: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Version: 13\r\n\r\n";
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                          Connection: Upgrade\r\n\r\n";
    let script = Script::new().expect_head().send(SWITCH).expect_bytes(4).send("pong").close();
    let origin = ScriptedOrigin::each(script);
    let gateway = start(&[origin.address()]);
    let mut client = Client::connect(gateway.listener("web"));
    assert_eq!(client.send(ASK).read_head().line, "HTTP/1.1 101 Switching Protocols");
    reload(&gateway, &says("gone"));
    assert_eq!(get(gateway.listener("web"), "/").text(), "gone");
    assert_eq!(client.send("ping").read_bytes(4), b"pong");
    origin.expect_done(1);
}

#[test]
fn the_access_log_and_the_admin_interface_can_be_moved() {
    let log = |text: &str| format!("{}[log]\naccess = {text}\n", says("here"));
    let gateway = Gateway::start(BINARY, &log("{ format = \"off\" }"));
    let web = gateway.listener("web");
    get(web, "/?one");
    reload(&gateway, &log("{ to = \"access.log\" }"));
    get(web, "/?two");
    let file = gateway.folder().join("access.log");
    let logged = || std::fs::read_to_string(&file).unwrap_or_default();
    wait_until(LIMIT, || logged().contains("\"query\":\"two\""));
    reload(&gateway, &log("{ to = \"access.log\", format = \"combined\" }"));
    get(web, "/?three");
    wait_until(LIMIT, || logged().contains("\"GET /?three HTTP/1.1\" 200"));
    assert!(!logged().contains("one"));
    gateway.reconfigure(&log("{ to = \"absent/access.log\" }"));
    let answer = post(gateway.admin(), "/reload", "");
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("access log") && answer.text().contains("absent"));
    let admin = gateway.admin();
    let moved = "[admin]\nbind = \"127.0.0.2:0\"\n";
    reload(&gateway, &says("here").replace("[admin]\nbind = \"127.0.0.1:0\"\n", moved));
    gateway.expect_error_line("admin on 127.0.0.2:");
    wait_until(LIMIT, || std::net::TcpStream::connect(admin).is_err());
}

#[test]
fn a_diff_says_what_a_reload_would_change_and_changes_nothing() {
    let gateway = Gateway::start(BINARY, &says("one"));
    let said = |arguments: &[&str]| told(&gateway, arguments);
    let (code, text) = said(&["diff"]);
    assert!(code == Some(0) && text.contains("a reload would change nothing"), "{text}");
    gateway.reconfigure(&says("two"));
    let (code, text) = said(&["diff"]);
    assert!(code == Some(0) && text.contains("routes: 0 kept, 1 changed (all)"), "{text}");
    assert_eq!(get(gateway.listener("web"), "/").text(), "one");
    std::fs::write(gateway.folder().join("next.toml"), says("one").replace("all", "any"))
        .expect("written");
    let (code, text) = said(&["diff", "next.toml"]);
    assert!(code == Some(0) && text.contains("1 kept"), "{text}");
    // A file that anybody could name is not read: its lines would be shown.
    let (code, text) = said(&["diff", "/etc/passwd"]);
    assert!(code == Some(1) && !text.contains("root:"), "{text}");
    // Nor one beside the configuration that is none: keys may stand there.
    std::fs::write(gateway.folder().join("site.key"), "-----BEGIN\nc2VjcmV0\n").expect("written");
    for command in ["diff", "apply"] {
        let (code, text) = said(&[command, "site.key"]);
        assert!(code == Some(1) && !text.contains("c2VjcmV0"), "{text}");
    }
    let (code, text) = said(&["reload"]);
    assert!(code == Some(0) && text.contains("generation 2"), "{text}");
    assert_eq!(get(gateway.listener("web"), "/").text(), "two");
    let (code, text) = said(&["diff"]);
    assert!(code == Some(0) && text.contains("a reload would change nothing"), "{text}");
    gateway.reconfigure("x");
    let (code, text) = said(&["reload"]);
    assert!(code == Some(1) && text.contains("error"), "{text}");
    let (code, text) = said(&["status"]);
    assert!(code == Some(0) && text.contains("\"generation\": 2"), "{text}");
}

#[test]
fn a_drained_endpoint_gets_nothing_new_and_empties() {
    let (a, b) = (Origin::start("a").expect("a port"), Origin::start("b").expect("a port"));
    let gateway = start(&[a.address(), b.address()]);
    let (web, admin) = (gateway.listener("web"), gateway.admin().to_string());
    let endpoint = a.address().to_string();
    let mut slow: Vec<Client> = (0..8).map(|_| Client::connect(web)).collect();
    for client in &mut slow {
        client.send(request("GET", "/slow/600", ""));
    }
    wait_until(LIMIT, || scrape(&gateway).sum("endpoint_requests_in_flight", &[]) == 8);
    let arguments = ["drain", "all", &endpoint, "--watch", "--admin", &admin];
    let output = run(&arguments, gateway.folder());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("in flight") && said.contains("empty"), "{said}");
    for client in &mut slow {
        client.expect_status(200);
    }
    let before = a.requests();
    for _ in 0..8 {
        assert_eq!(get(web, "/").text(), "b\n");
    }
    wait_until(LIMIT, || a.open_connections() == 0);
    reload(
        &gateway,
        &config(&[a.address(), b.address()])
            .replace("[[routes]]", "[[routes]]\nbody-bytes = \"1MiB\""),
    );
    assert_eq!(get(web, "/").text(), "b\n");
    assert_eq!(a.requests(), before);
    let shown = status(&gateway);
    let endpoints = shown.list("upstreams")[0].list("endpoints");
    assert_eq!(endpoints[0].at("drained"), &Json::Flag(true));
    // With nobody left the answer is a real one.
    assert_eq!(
        post(gateway.admin(), &format!("/drain?upstream=all&endpoint={}", b.address()), "").status,
        200
    );
    assert_eq!(get(web, "/").status, 503);
    assert_eq!(ask_admin(gateway.admin(), "/healthz").status, 503);
    let output = run(&["undrain", "all", &endpoint, "--admin", &admin], gateway.folder());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(get(web, "/").text(), "a\n");
    let output = run(&["drain", "all", "10.0.0.1:1", "--admin", &admin], gateway.folder());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&endpoint));
}

#[test]
fn no_request_fails_while_the_configuration_changes_again_and_again() {
    let (a, b) = (Origin::start("a").expect("a port"), Origin::start("b").expect("a port"));
    let gateway = start(&[a.address(), b.address()]);
    let all = [a.address(), b.address()];
    let rounds = rounds(20, 100);
    let asked = under_load(gateway.listener("web"), || {
        for round in 0..rounds {
            let endpoints = match round % 3 {
                0 => &all[..1],
                1 => &all[1..],
                _ => &all[..],
            };
            let extra = format!("[[routes]]\nname = \"r{round}\"\npath = \"/r\"\nrespond = {{}}\n");
            reload(&gateway, &format!("{}{extra}", config(endpoints)));
        }
    });
    assert!(asked >= 2_000, "{asked}");
    assert_eq!(scrape(&gateway).sum("config_generation", &[]), rounds + 1);
    assert_eq!(scrape(&gateway).sum("failures_total", &[]), 0);
}

/// Runs a command against a gateway: its exit code and all it said.
fn told(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let admin = gateway.admin().to_string();
    let output = run(&[arguments, &["--admin", &admin]].concat(), gateway.folder());
    let both = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&both).into_owned())
}

#[test]
fn what_is_applied_and_not_confirmed_is_taken_back() {
    let gateway = Gateway::start(BINARY, &says("one"));
    let web = gateway.listener("web");
    std::fs::write(gateway.folder().join("next.toml"), says("two")).expect("written");
    let (code, text) = told(&gateway, &["apply", "next.toml", "--confirm", "1s"]);
    assert!(code == Some(0) && text.contains("gatehouse confirm"), "{text}");
    assert_eq!(get(web, "/").text(), "two");
    // Nothing else may come between.
    let (code, text) = told(&gateway, &["reload"]);
    assert!(code == Some(1) && text.contains("waits to be confirmed"), "{text}");
    gateway.expect_error_line("was not confirmed in time");
    wait_until(LIMIT, || get(web, "/").text() == "one");
    let (code, text) = told(&gateway, &["confirm"]);
    assert!(code == Some(1) && text.contains("nothing waits"), "{text}");
    assert_eq!(status(&gateway).at("config").count("generation"), 3);
}

#[test]
fn a_status_names_the_file_that_is_in_force() {
    let gateway = Gateway::start(BINARY, &says("one"));
    let file = || status(&gateway).at("config").text("file").to_owned();
    let own = file();
    assert!(own.ends_with("gatehouse.toml"), "{own}");
    std::fs::write(gateway.folder().join("next.toml"), says("two")).expect("written");
    let (code, text) = told(&gateway, &["apply", "next.toml", "--confirm", "1s"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(file(), own.replace("gatehouse.toml", "next.toml"));
    gateway.expect_error_line("took back");
    wait_until(LIMIT, || file() == own);
    let (code, text) = told(&gateway, &["apply", "next.toml"]);
    assert!(code == Some(0) && file() != own, "{text}");
    let (code, text) = told(&gateway, &["reload"]);
    assert!(code == Some(0) && file() == own, "{text}");
}

#[test]
fn relative_paths_of_an_applied_file_are_those_of_the_gateways_own() {
    let text = |body: &str| {
        let more = "[listeners.local]\nbind = \"unix:local\"\n[log]\naccess = { to = \"log\" }\n";
        format!("{}{more}", says(body))
    };
    let launch = Launch::new(BINARY, &text("one")).arguments(["run", "-c", "gatehouse.toml"]);
    let gateway = launch.start();
    std::fs::write(gateway.folder().join("next.toml"), text("one")).expect("written");
    let (code, said) = told(&gateway, &["diff", "next.toml"]);
    assert!(code == Some(0) && said.contains("a reload would change nothing"), "{said}");
    let (code, said) = told(&gateway, &["apply", "next.toml"]);
    assert!(code == Some(0) && !said.contains("log.access.to"), "{said}");
    gateway.expect_error_line("generation 2: nothing has changed");
}

#[test]
fn what_is_applied_and_confirmed_stays() {
    let gateway = Gateway::start(BINARY, &says("one"));
    let web = gateway.listener("web");
    std::fs::write(gateway.folder().join("next.toml"), says("two")).expect("written");
    let (code, text) = told(&gateway, &["apply", "next.toml", "--confirm", "30s"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(status(&gateway).at("config").count("unconfirmed_seconds_left") <= 30);
    let (code, text) = told(&gateway, &["confirm"]);
    assert!(code == Some(0) && text.contains("copy it there"), "{text}");
    assert_eq!(status(&gateway).at("config").at("unconfirmed_seconds_left"), &Json::Null);
    assert_eq!(get(web, "/").text(), "two");
    // And a file that is wrong is not put on trial.
    std::fs::write(gateway.folder().join("next.toml"), "x").expect("written");
    let (code, text) = told(&gateway, &["apply", "next.toml", "--confirm", "30s"]);
    assert_eq!(code, Some(1), "{text}");
    for confirm in ["0s", "2h", "soon"] {
        let target = format!("/apply?file=/x&confirm={confirm}");
        assert_eq!(post(gateway.admin(), &target, "").status, 400, "{confirm}");
    }
    assert_eq!(post(gateway.admin(), "/confirm", "").status, 409);
    let (code, text) = told(&gateway, &["reload"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(get(web, "/").text(), "one");
}
