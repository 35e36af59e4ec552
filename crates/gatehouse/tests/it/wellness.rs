//! Who is well: checks and real traffic leave endpoints out, and take them in again.

use crate::front::{BINARY, DOORS, LIMIT, ask_admin, get, post, scrape};
use crate::json::Json;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::net::SocketAddr;

/// A gateway whose one upstream, `all`, has these endpoints and these settings.
fn start(endpoints: &[SocketAddr], settings: &str) -> Gateway {
    let list: Vec<String> = endpoints.iter().map(|each| format!("\"{each}\"")).collect();
    let list = list.join(", ");
    let config = format!(
        "{DOORS}[log]\naccess = {{ format = \"off\" }}\n[[routes]]\nupstream = \"all\"\n\
         [upstreams.all]\nendpoints = [{list}]\n{settings}\n"
    );
    Gateway::start(BINARY, &config)
}

fn upstream(gateway: &Gateway) -> Json {
    let status = Json::read(&ask_admin(gateway.admin(), "/status").text());
    status.list("upstreams").first().cloned().expect("an upstream")
}

/// The word each endpoint stands as.
fn standings(gateway: &Gateway) -> Vec<String> {
    let upstream = upstream(gateway);
    upstream.list("endpoints").iter().map(|one| one.text("standing").to_owned()).collect()
}

fn bodies(gateway: &Gateway, count: usize) -> Vec<String> {
    let web = gateway.listener("web");
    (0..count).map(|_| get(web, "/").text()).collect()
}

const QUICK: &str = "health = { path = \"/\", interval = \"50ms\", timeout = \"1s\" }\n\
                     outlier = false\nretry = 0";

#[test]
fn checks_leave_out_an_endpoint_that_is_down_and_take_it_in_again() {
    let (one, mut two) = (Origin::start("one").expect("a port"), Origin::start("two").expect("it"));
    let gateway = start(&[one.address(), two.address()], QUICK);
    two.kill();
    wait_until(LIMIT, || standings(&gateway) == ["ready", "unhealthy"]);
    gateway.expect_error_line(": unhealthy: ");
    assert!(bodies(&gateway, 40).iter().all(|body| body.contains("one")));
    assert_eq!(scrape(&gateway).sum("endpoint_ready", &[]), 1);
    two.restart().expect("its port");
    wait_until(LIMIT, || standings(&gateway) == ["ready", "ready"]);
    let bodies = bodies(&gateway, 40);
    assert!(bodies.iter().any(|body| body.contains("two")), "{bodies:?}");
}

#[test]
fn a_check_looks_at_the_status_and_the_body() {
    let origin = Origin::start("one").expect("a port");
    for (health, standing) in [
        ("path = \"/status/204\"", "ready"),
        ("path = \"/status/404\"", "unhealthy"),
        ("path = \"/status/404\", status = \"200-499\"", "ready"),
        ("path = \"/\", body = \"one\"", "ready"),
        ("path = \"/\", body = \"absent\"", "unhealthy"),
        ("path = \"/slow/5000\", timeout = \"50ms\"", "unhealthy"),
        ("check = \"connect\"", "ready"),
    ] {
        // What is assumed before the first check is the opposite.
        let assumed = if standing == "ready" { "unhealthy" } else { "healthy" };
        let health = format!("health = {{ {health}, start = \"{assumed}\" }}");
        let gateway = start(&[origin.address()], &health);
        wait_until(LIMIT, || standings(&gateway) == [standing]);
        let panics = upstream(&gateway).at("panics").clone();
        assert_eq!(panics, Json::Flag(standing == "unhealthy"), "{health}");
        assert_eq!(get(gateway.listener("web"), "/").status, 200, "better a try than a refusal");
    }
}

#[test]
fn an_endpoint_that_hangs_delays_no_other_check() {
    // Nobody accepts: the connection opens, and no answer ever comes.
    let hung = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let (at, origin) = (hung.local_addr().expect("it"), Origin::start("one").expect("a port"));
    let mut two = Origin::start("two").expect("a port");
    let health = "health = { path = \"/\", interval = \"50ms\", timeout = \"60s\" }\nretry = 0";
    let gateway = start(&[at, origin.address(), two.address()], health);
    two.kill();
    wait_until(LIMIT, || standings(&gateway)[2] == "unhealthy");
    assert_eq!(standings(&gateway)[1], "ready");
}

#[test]
fn errors_in_a_row_eject_an_endpoint_for_a_while() {
    let origin = Origin::start("one").expect("a port");
    let failing = Script::new()
        .expect_head()
        .send("HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .close();
    let bad = ScriptedOrigin::each(failing);
    let outlier = "outlier = { consecutive-errors = 3, eject-for = \"600ms\" }\nretry = 0";
    let gateway = start(&[origin.address(), bad.address()], outlier);
    let web = gateway.listener("web");
    wait_until(LIMIT, || {
        get(web, "/");
        standings(&gateway)[1] == "ejected"
    });
    gateway.expect_error_line("ejected for 600 ms: ");
    gateway.expect_error_line("probing: it is given 3 requests");
    assert_eq!(standings(&gateway)[1], "probing");
    wait_until(LIMIT, || {
        get(web, "/");
        standings(&gateway)[1] == "ejected"
    });
    gateway.expect_error_line("ejected for 1200 ms: a probe failed");
    let asked = bad.connections();
    assert!(bodies(&gateway, 20).iter().all(|body| body.contains("one")));
    assert_eq!(bad.connections(), asked, "it was asked while it was ejected");
}

#[test]
fn an_ejected_endpoint_that_is_well_again_has_its_share_once_its_probes_went_well() {
    let (one, mut two) = (Origin::start("one").expect("a port"), Origin::start("two").expect("it"));
    let outlier = "outlier = { consecutive-errors = 2, eject-for = \"300ms\", probes = 2 }";
    let gateway = start(&[one.address(), two.address()], outlier);
    let web = gateway.listener("web");
    two.kill();
    wait_until(LIMIT, || {
        assert_eq!(get(web, "/").status, 200);
        standings(&gateway)[1] == "ejected"
    });
    two.restart().expect("its port");
    wait_until(LIMIT, || standings(&gateway)[1] == "probing");
    let before = two.requests();
    // Half of them are its turn.
    assert_eq!(bodies(&gateway, 4).iter().filter(|body| body.contains("two")).count(), 2);
    gateway.expect_error_line("no longer ejected");
    wait_until(LIMIT, || standings(&gateway) == ["ready", "ready"]);
    assert_eq!(two.requests(), before + 2);
}

#[test]
fn by_default_a_dead_endpoint_is_soon_asked_no_more() {
    let (one, mut two) = (Origin::start("one").expect("a port"), Origin::start("two").expect("it"));
    let gateway = start(&[one.address(), two.address()], "");
    two.kill();
    let web = gateway.listener("web");
    wait_until(LIMIT, || {
        assert_eq!(get(web, "/").status, 200);
        standings(&gateway)[1] == "ejected"
    });
    let before = scrape(&gateway).sum("endpoint_connect_failures_total", &[]);
    (0..20).for_each(|_| assert_eq!(get(web, "/").status, 200));
    assert_eq!(scrape(&gateway).sum("endpoint_connect_failures_total", &[]), before);
}

#[test]
fn a_breaker_opens_tries_and_closes() {
    let origin = Origin::start("one").expect("a port");
    let breaker = "breaker = { error-rate = \"50%\", min-requests = 10, open-for = \"300ms\", \
                   probes = 2 }";
    let gateway = start(&[origin.address()], breaker);
    let web = gateway.listener("web");
    wait_until(LIMIT, || {
        get(web, "/status/500");
        upstream(&gateway).text("breaker") == "open"
    });
    let asked = origin.requests();
    let answer = get(web, "/");
    assert_eq!(answer.status, 503);
    assert!(answer.field("proxy-status").is_some_and(|why| why.contains("destination_unav")));
    assert_eq!(origin.requests(), asked);
    gateway.expect_error_line("breaker half open");
    wait_until(LIMIT, || get(web, "/").status == 200);
    wait_until(LIMIT, || {
        get(web, "/");
        scrape(&gateway).sum("upstream_breaker_open", &[]) == 0
    });
}

#[test]
fn health_lives_through_a_reload() {
    let (one, mut two) = (Origin::start("one").expect("a port"), Origin::start("two").expect("it"));
    let endpoints = format!("[\"{}\", \"{}\"]", one.address(), two.address());
    let outlier = "outlier = { consecutive-errors = 2, eject-for = \"60s\" }";
    let config = |more: &str| {
        format!(
            "{DOORS}[[routes]]\nupstream = \"all\"\n[upstreams.all]\nendpoints = {endpoints}\n\
             {outlier}\n{more}"
        )
    };
    let gateway = Gateway::start(BINARY, &config(""));
    two.kill();
    wait_until(LIMIT, || {
        get(gateway.listener("web"), "/");
        standings(&gateway)[1] == "ejected"
    });
    gateway.reconfigure(&config("slow-start = \"1s\"\n"));
    gateway.signal(gatehouse_rig::process::Signal::Hup);
    gateway.expect_error_line("reload");
    assert_eq!(standings(&gateway), ["ready", "ejected"]);
}

#[test]
fn an_endpoint_that_is_drained_no_more_or_was_added_warms_up() {
    let each = ["one", "two", "three"].map(|name| Origin::start(name).expect("a port"));
    let [one, two, three] = [&each[0], &each[1], &each[2]].map(Origin::address);
    let config = |endpoints: &[SocketAddr]| {
        let list: Vec<String> = endpoints.iter().map(|each| format!("\"{each}\"")).collect();
        format!(
            "{DOORS}[[routes]]\nupstream = \"all\"\n[upstreams.all]\nendpoints = [{}]\n\
             slow-start = \"1h\"\n",
            list.join(", ")
        )
    };
    let gateway = Gateway::start(BINARY, &config(&[one, two]));
    let warmths = || -> Vec<Json> {
        let upstream = upstream(&gateway);
        upstream.list("endpoints").iter().map(|each| each.at("warmth_percent").clone()).collect()
    };
    let whole = warmths()[0].clone();
    assert_eq!(warmths(), [whole.clone(), whole.clone()]);
    for what in ["drain", "undrain"] {
        let target = format!("/{what}?upstream=all&endpoint={two}");
        assert_eq!(post(gateway.admin(), &target, "").status, 200);
    }
    let seen = warmths();
    assert!(seen[0] == whole && seen[1] != whole, "{seen:?}");
    gateway.reconfigure(&config(&[one, three]));
    gateway.signal(gatehouse_rig::process::Signal::Hup);
    gateway.expect_error_line("reload");
    let seen = warmths();
    assert!(seen[0] == whole && seen[1] != whole, "{seen:?}");
}

#[test]
fn checks_go_on_though_one_is_under_way_while_a_reload_calls_its_upstream_otherwise() {
    let (a, b) = (Origin::start("a").expect("a port"), Origin::start("b").expect("a port"));
    let route = |path: &str, origin: &Origin| {
        format!(
            "[[routes]]\npath = \"{path}\"\nupstream = {{ endpoints = [\"{}\"], \
             health = {{ path = \"/slow/500\", interval = \"50ms\", timeout = \"5s\" }} }}\n",
            origin.address()
        )
    };
    let config = |routes: &[String]| format!("{DOORS}{}", routes.concat());
    let gateway = Gateway::start(BINARY, &config(&[route("/a/*", &a)]));
    wait_until(LIMIT, || a.open_connections() == 1);
    gateway.reconfigure(&config(&[route("/b/*", &b), route("/a/*", &a)]));
    gateway.signal(gatehouse_rig::process::Signal::Hup);
    gateway.expect_error_line("reloaded");
    let before = a.connections();
    wait_until(LIMIT, || a.connections() >= before + 2);
}

#[test]
fn what_is_judged_and_checked_is_counted() {
    let (one, mut two) = (Origin::start("one").expect("a port"), Origin::start("two").expect("it"));
    let settings = "outlier = { consecutive-errors = 2, eject-for = \"60s\" }\nretry = 0\n\
                    health = { check = \"connect\", interval = \"50ms\", unhealthy-after = 100 }\n\
                    breaker = { error-rate = \"10%\", min-requests = 10, open-for = \"60s\" }";
    let gateway = start(&[one.address(), two.address()], settings);
    let of = |family: &str, label: &str| scrape(&gateway).sum(family, &["upstream=\"all\"", label]);
    wait_until(LIMIT, || of("upstream_checks_total", "result=\"passed\"") >= 2);
    assert_eq!(of("upstream_checks_total", "result=\"failed\""), 0);
    assert_eq!(
        (of("upstream_ejections_total", ""), of("upstream_breaker_opened_total", "")),
        (0, 0)
    );
    two.kill();
    wait_until(LIMIT, || of("upstream_checks_total", "result=\"failed\"") >= 2);
    wait_until(LIMIT, || {
        get(gateway.listener("web"), "/");
        of("upstream_ejections_total", "") == 1
    });
    wait_until(LIMIT, || {
        get(gateway.listener("web"), "/status/500");
        of("upstream_breaker_opened_total", "") == 1
    });
    assert_eq!(of("upstream_breaker_half_open", ""), 0);
    let refused = || scrape(&gateway).sum("breaker_refused_total", &[]);
    let before = refused();
    assert_eq!(get(gateway.listener("web"), "/").status, 503);
    wait_until(LIMIT, || refused() == before + 1);
    assert_eq!(of("upstream_requests_in_flight", ""), 0);
    assert!(scrape(&gateway).sum("client_connections_max", &[]) > 0);
}
