//! `run --watch`: the ways in which files change, as editors and platforms change them.

use crate::front::{BINARY, DOORS, LIMIT, get, scrape};
use gatehouse_rig::process::{Gateway, Launch};
use gatehouse_rig::wait_until;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

fn says(body: &str) -> String {
    format!("{DOORS}[[routes]]\nname = \"all\"\nrespond = {{ body = \"{body}\" }}\n")
}

/// A gateway that watches its file.
#[track_caller]
fn watching(config: &str, prepare: impl FnOnce(&PathBuf) -> PathBuf) -> Gateway {
    let launch = Launch::new(BINARY, config);
    let file = prepare(&launch.folder().to_owned());
    let arguments = ["run", "--watch", "-c"].map(PathBuf::from);
    launch.arguments(arguments.into_iter().chain([file])).start()
}

#[track_caller]
fn await_answer(gateway: &Gateway, body: &str) {
    wait_until(LIMIT, || get(gateway.listener("web"), "/").text() == body);
}

#[test]
fn a_file_that_is_written_in_place_or_replaced_is_read_again() {
    let gateway = watching(&says("one"), |folder| folder.join("gatehouse.toml"));
    await_answer(&gateway, "one");
    gateway.reconfigure(&says("two"));
    await_answer(&gateway, "two");
    // As editors do: another file is renamed over it, again and again.
    for text in ["three", "four"] {
        let next = gateway.folder().join(".gatehouse.toml.swp");
        fs::write(&next, says(text)).expect("written");
        fs::rename(&next, gateway.folder().join("gatehouse.toml")).expect("renamed");
        await_answer(&gateway, text);
    }
    assert_eq!(scrape(&gateway).sum("config_reload_failures_total", &[]), 0);
    assert_eq!(scrape(&gateway).sum("config_generation", &[]), 4, "read once a change");
}

#[test]
fn a_swapped_link_of_a_config_map_is_followed() {
    // As kubelet does: the file is a link into ..data, which is a link that is replaced.
    let gateway = watching("", |folder| {
        let volume = folder.join("volume");
        fs::create_dir_all(volume.join("..v1")).expect("a folder");
        fs::write(volume.join("..v1/site.toml"), says("one")).expect("written");
        symlink("..v1", volume.join("..data")).expect("a link");
        symlink("..data/site.toml", volume.join("site.toml")).expect("a link");
        volume.join("site.toml")
    });
    await_answer(&gateway, "one");
    let volume = gateway.folder().join("volume");
    for (version, text) in [("..v2", "two"), ("..v3", "three")] {
        fs::create_dir_all(volume.join(version)).expect("a folder");
        fs::write(volume.join(version).join("site.toml"), says(text)).expect("written");
        symlink(version, volume.join("..data_tmp")).expect("a link");
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).expect("renamed");
        await_answer(&gateway, text);
    }
    assert_eq!(scrape(&gateway).sum("config_generation", &[]), 3);
}

#[test]
fn included_files_that_come_change_and_go_are_followed() {
    let route = |path: &str, body: &str| {
        format!(
            "[[routes]]\nname = \"{body}\"\npath = \"{path}\"\nrespond = {{ body = \"{body}\" }}\n"
        )
    };
    let config = format!("include = [\"conf.d/*.toml\"]\n{DOORS}{}", route("/*", "rest"));
    let gateway = watching(&config, |folder| {
        fs::create_dir_all(folder.join("conf.d")).expect("a folder");
        folder.join("gatehouse.toml")
    });
    let web = gateway.listener("web");
    let part = gateway.folder().join("conf.d/a.toml");
    fs::write(&part, route("/a", "first")).expect("written");
    wait_until(LIMIT, || get(web, "/a").text() == "first");
    fs::write(&part, route("/a", "second")).expect("written");
    wait_until(LIMIT, || get(web, "/a").text() == "second");
    fs::remove_file(&part).expect("it is there");
    wait_until(LIMIT, || get(web, "/a").text() == "rest");
}

#[test]
fn a_file_that_is_wrong_is_tried_once_and_what_follows_it_is_taken() {
    let gateway = watching(&says("one"), |folder| folder.join("gatehouse.toml"));
    gateway.reconfigure("rubbish");
    gateway.expect_error_line("error: the reload failed and has changed nothing");
    assert_eq!(get(gateway.listener("web"), "/").text(), "one");
    gateway.reconfigure(&says("two"));
    await_answer(&gateway, "two");
    assert_eq!(scrape(&gateway).sum("config_reload_failures_total", &[]), 1);
}

#[test]
fn nothing_is_read_again_where_nothing_was_asked_for() {
    let gateway = Gateway::start(BINARY, &says("one"));
    let watching = watching(&says("one"), |folder| folder.join("gatehouse.toml"));
    gateway.reconfigure(&says("two"));
    watching.reconfigure(&says("two"));
    await_answer(&watching, "two");
    assert_eq!(get(gateway.listener("web"), "/").text(), "one");
}
