//! Who the gateway is to ZooKeeper, and who ZooKeeper is to the gateway.

use super::ensemble::Ensemble;
use super::{await_who, config, node, origins};
use crate::front::{BINARY, LIMIT, get};
use crate::tls::Authority;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;

#[test]
fn a_node_with_an_acl_is_read_by_whoever_has_the_password_and_by_nobody_else() {
    let zookeeper = Ensemble::one();
    let mut peer = zookeeper.peer(&["digest", "ops", "sesame"]);
    let [one] = origins();
    peer.done(&["create", "/s", ""]);
    peer.done(&["owned", &node(&one), "", "ops", "sesame"]);
    let with = |password: &str| {
        let login = format!("user = \"ops\"\npassword = \"{password}\"\n");
        Gateway::start(BINARY, &config(&zookeeper.hosts(), &login))
    };
    await_who(&with("sesame"), &["o0"]);
    let refused = with("hunter2");
    refused.expect_error_line(&format!("{}: may not be touched by who we are", node(&one)));
    assert_eq!(get(refused.listener("web"), "/").status, 503);
    assert!(!refused.errors().join("\n").contains("hunter2"));
    let sasl = "user = \"ops\"\npassword = \"sesame\"\nmechanism = \"digest-md5\"\n";
    let asking = Gateway::start(BINARY, &config(&zookeeper.hosts(), sasl));
    asking.expect_error_line(&format!("{}: it has no DIGEST-MD5", zookeeper.hosts()));
}

#[test]
fn a_server_that_wants_sasl_gets_it_and_a_wrong_password_is_said() {
    let jaas = "Server { org.apache.zookeeper.server.auth.DigestLoginModule required \
                user_ops=\"sesame\"; };";
    let folder = Authority::new();
    folder.put("jaas.conf", jaas);
    let java = format!("-Djava.security.auth.login.config={}", folder.path("jaas.conf"));
    let zookeeper = Ensemble::start(
        1,
        "authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n\
         sessionRequireClientSASLAuth=true",
        &[&java],
    );
    let [one] = origins();
    let with = |login: &str| Gateway::start(BINARY, &config(&zookeeper.hosts(), login));
    let nobody = with("");
    nobody.expect_error_line("the server wants SASL");
    let sasl = "user = \"ops\"\nmechanism = \"digest-md5\"\npassword = ";
    let wrong = with(&format!("{sasl}\"hunter2\"\n"));
    wrong.expect_error_line("SASL: the server refuses user or password");
    folder.put("password", "sesame\n");
    let right = with(&format!("{sasl}{{ file = \"{}\" }}\n", folder.path("password")));
    right.expect_error_line("/s: does not exist");
    let url = format!("zk://{}{}", zookeeper.hosts(), node(&one));
    let made = std::process::Command::new(BINARY)
        .args(["registry", "set", &url, ""])
        .env("GATEHOUSE_ZK_USER", "ops")
        .env("GATEHOUSE_ZK_PASSWORD", "sesame")
        .env("GATEHOUSE_ZK_MECHANISM", "digest-md5")
        .output()
        .expect("it starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    wait_until(LIMIT, || get(right.listener("web"), "/").status == 200);
}

#[test]
fn under_tls_a_server_has_to_be_who_its_name_says() {
    let authority = Authority::new();
    authority.sign("localhost", &["localhost"]);
    authority.sign("gateway", &["gateway"]);
    let (chain, key) = ("localhost.pem", "localhost.key");
    let read = |name: &str| std::fs::read_to_string(authority.path(name)).expect("a file");
    authority.put("both.pem", &format!("{}{}", read(chain), read(key)));
    let secure = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = secure.local_addr().expect("an address").port();
    drop(secure);
    let lines = format!(
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
         secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\n\
         ssl.keyStore.location={}\nssl.keyStore.type=PEM\nssl.trustStore.location={}\n\
         ssl.trustStore.type=PEM\nssl.clientAuth=need",
        authority.path("both.pem"),
        authority.path("ca.pem")
    );
    let zookeeper = Ensemble::start(1, &lines, &[]);
    let [one] = origins();
    zookeeper.peer(&[]).done(&["create", &node(&one), ""]);
    let tls = |more: &str| {
        let pair = ["cert", "key"].map(|part| {
            let file = if part == "cert" { "gateway.pem" } else { "gateway.key" };
            format!("{part} = \"{}\"", authority.path(file))
        });
        format!("tls = {{ roots = \"{}\", {}{more} }}\n", authority.path("ca.pem"), pair.join(", "))
    };
    let with =
        |host: &str, tls: &str| Gateway::start(BINARY, &config(&format!("{host}:{port}"), tls));
    await_who(&with("localhost", &tls("")), &["o0"]);
    await_who(&with("127.0.0.1", &tls(", name = \"localhost\"")), &["o0"]);
    for (host, tls, why) in [
        ("127.0.0.1", tls(""), "it is for another name"),
        ("localhost", tls(", name = \"elsewhere\""), "it is for another name"),
        ("localhost", "tls = true\n".to_owned(), "its issuer is not trusted"),
    ] {
        let refused = with(host, &tls);
        refused.expect_error_line(&format!("{host}:{port}: tls handshake: "));
        let lines = refused.errors().join("\n");
        assert!(lines.contains(why), "{lines}");
        assert_eq!(get(refused.listener("web"), "/").status, 503);
    }
}
