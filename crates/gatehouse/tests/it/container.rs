//! The image without an engine: the same files in an empty folder, made its root, and the same
//! commands under the same user. The first generation's listened on loopback, ran as root, and
//! asked an upstream for its own health.

use crate::front::{BINARY, LIMIT, get};
use crate::packaging::{file, image_command, image_health, image_user, root as repository};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::wait_until;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread;

/// The image's root folder, removed at the end of its test.
struct Image {
    root: PathBuf,
    upstream: String,
    /// One that nothing else listens on, so that the admin's port can stay what it is.
    loopback: Ipv4Addr,
}

impl Image {
    /// Makes it as the Dockerfile does. Only ports and the admin's address are its test's own.
    fn new(name: &str, upstream: &str) -> Image {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("image-{name}"));
        let _ = fs::remove_dir_all(&root);
        let script = repository().join("packaging/image-root");
        let made = Command::new(script).arg(BINARY).arg(&root).output().expect("it starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let image = Image { root, upstream: upstream.to_owned(), loopback: fresh_loopback() };
        let config = file("packaging/container.toml");
        let changed = config.replace("\":8080\"", "\":0\"");
        let changed = changed.replace("127.0.0.1:9900", &image.admin().to_string());
        image.write("etc/gatehouse/gatehouse.toml", &changed);
        image
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.root.join(name), text).expect("a file of the image");
    }

    fn admin(&self) -> SocketAddr {
        SocketAddr::new(self.loopback.into(), 9900)
    }

    /// A program and its arguments that run a command of the image inside it, as its user.
    fn inside(&self, command: &[String]) -> (&'static str, Vec<String>) {
        let (user, root) = (image_user(), self.root.display().to_string());
        let (program, mut arguments) = if rustix::process::geteuid().is_root() {
            ("chroot", vec![format!("--userspec={user}"), root])
        } else {
            // Who is not root may still be anybody in a namespace of users of their own.
            let (user, group) = user.split_once(':').expect("a user and a group");
            let user = [format!("--map-user={user}"), format!("--map-group={group}")];
            let enter = ["--user".to_owned(), format!("--root={root}")];
            ("unshare", enter.into_iter().chain(user).collect())
        };
        arguments.extend_from_slice(command);
        (program, arguments)
    }

    #[track_caller]
    fn start(&self) -> Gateway {
        let (program, arguments) = self.inside(&image_command());
        Launch::new(program, "").arguments(arguments).variable("UPSTREAM", &self.upstream).start()
    }

    /// What an engine does every ten seconds: the exit code, and all that was printed.
    #[track_caller]
    fn health(&self) -> (Option<i32>, String) {
        let (program, arguments) = self.inside(&image_health());
        let mut command = Command::new(program);
        command.args(arguments).env("UPSTREAM", &self.upstream);
        let Output { status, stdout, stderr } = command.output().expect("it starts");
        let said = [stdout, stderr].concat();
        (status.code(), String::from_utf8_lossy(&said).into_owned())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// An address of loopback for one use in this process, and in no other.
fn fresh_loopback() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(64);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, NEXT.fetch_add(1, Relaxed), high, low)
}

/// This machine's addresses by which somebody else would ask: its own on its network, if it has
/// one, and another one of loopback than the usual.
fn addresses_outside() -> Vec<IpAddr> {
    let elsewhere = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let own = elsewhere.map(|address| address.ip()).ok();
    own.into_iter().chain([fresh_loopback().into()]).collect()
}

#[test]
fn the_image_is_reached_from_outside_and_its_admin_interface_is_not() {
    let origin = Origin::start("a").expect("a port");
    let image = Image::new("outside", &origin.address().to_string());
    let mut gateway = image.start();
    let web = gateway.listener("web");
    assert!(web.ip().is_unspecified(), "{web}");
    for ip in addresses_outside() {
        assert_eq!(get(SocketAddr::new(ip, web.port()), "/").text(), "a\n", "{ip}");
    }
    assert_eq!(gateway.admin(), image.admin());
    for ip in addresses_outside() {
        let admin = SocketAddr::new(ip, image.admin().port());
        assert!(TcpStream::connect(admin).is_err(), "{admin} answers");
    }
    assert_eq!(gateway.terminate().code(), Some(0), "a stop drains");
}

#[test]
fn the_image_runs_as_nobody_with_no_right_beyond_that() {
    let origin = Origin::start("a").expect("a port");
    let image = Image::new("user", &origin.address().to_string());
    let gateway = image.start();
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it lives");
    let line = |key: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(key));
        found.unwrap_or_else(|| panic!("no {key} in {status}")).trim().to_owned()
    };
    for key in ["Uid:", "Gid:"] {
        assert!(line(key).split_whitespace().all(|id| id != "0"), "{key} {}", line(key));
    }
    for key in ["CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&line(key), 16), Ok(0), "{key}");
    }
}

#[test]
fn the_health_check_is_about_the_gateway_and_fails_when_it_cannot_serve() {
    let mut origin = Origin::start("a").expect("a port");
    let image = Image::new("health", &origin.address().to_string());
    assert_eq!(image.health().0, Some(3), "nobody runs");
    let mut gateway = image.start();
    assert_eq!(image.health(), (Some(0), "serving\n".to_owned()));
    // Its upstream is not what it is asked about, and what asks counts as no request.
    origin.stop();
    assert_eq!(image.health(), (Some(0), "serving\n".to_owned()));
    assert_eq!(origin.requests(), 0);
    gateway.signal(Signal::Stop);
    assert_eq!(image.health().0, Some(3));
    gateway.signal(Signal::Kill);
    gateway.wait(LIMIT);
    assert_eq!(image.health().0, Some(3));

    let nowhere = Image::new("nowhere", "absent.invalid:9000");
    nowhere.write("etc/hosts", "");
    nowhere.write("etc/resolv.conf", "options attempts:1 timeout:1\nnameserver 127.0.0.1\n");
    let _gateway = nowhere.start();
    let (code, said) = nowhere.health();
    assert_eq!((code, said.as_str()), (Some(1), "503 not serving: no upstream has an endpoint\n"));
}

#[test]
fn the_image_looks_names_up_in_its_hosts_first_and_then_asks_the_dns() {
    let origin = Origin::start("a").expect("a port");
    let port = origin.address().port();
    let image = Image::new("hosts", &format!("app:{port}"));
    image.write("etc/hosts", "127.0.0.1 app\n");
    image.write("etc/resolv.conf", "nameserver 127.0.0.1\n");
    let gateway = image.start();
    assert_eq!(get(gateway.listener("web"), "/").text(), "a\n");
    drop(gateway);
    if !rustix::process::geteuid().is_root() {
        // Port 53 is not for everybody.
        return;
    }
    let image = Image::new("dns", &format!("app.internal:{port}"));
    let server = UdpSocket::bind((image.loopback, 53)).expect("port 53");
    thread::spawn(move || answer_everything(&server));
    image.write("etc/hosts", "");
    image.write("etc/resolv.conf", &format!("nameserver {}\n", image.loopback));
    let gateway = image.start();
    wait_until(LIMIT, || get(gateway.listener("web"), "/").status == 200);
}

/// A DNS server to which every name is at 127.0.0.1, until the test's process ends.
fn answer_everything(server: &UdpSocket) {
    const IPV4: [u8; 2] = [0, 1];
    let mut room = [0; 512];
    while let Ok((count, from)) = server.recv_from(&mut room) {
        let query = &room[..count];
        let name = query[12..].iter().position(|byte| *byte == 0).expect("the end of a name");
        let question = &query[12..12 + name + 5];
        let answers = u8::from(question[name + 1..name + 3] == IPV4);
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0]);
        answer.extend(question);
        if answers == 1 {
            // The name above, an address, of the Internet, for five seconds.
            answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
        }
        let _ = server.send_to(&answer, from);
    }
}
