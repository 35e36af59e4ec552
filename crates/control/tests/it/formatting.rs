//! `gatehouse fmt`.

use crate::examples::examples;
use crate::golden::files;
use crate::json_schema::toml_value;
use gatehouse_control::config::{NotToml, layout};
use std::fs;
use std::path::Path;

#[test]
fn a_file_is_laid_out_and_its_comments_stay() {
    let [written, expected] = ["written", "laid-out"].map(|name| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/layout");
        fs::read_to_string(folder.join(name)).expect("the file is there")
    });
    let (written, expected) = (&*written, &*expected);
    assert_eq!(layout(written).as_deref(), Ok(expected));
    assert_eq!(layout(expected).as_deref(), Ok(expected));
}

#[test]
fn a_text_that_is_not_toml_is_left_alone() {
    assert_eq!(layout("[a\n"), Err(NotToml));
}

#[test]
fn examples_are_laid_out() {
    for path in examples() {
        let text = fs::read_to_string(&path).expect("the file is there");
        assert_eq!(layout(&text).as_ref(), Ok(&text), "{}: run gatehouse fmt", path.display());
    }
}

#[test]
fn laying_out_changes_no_value_and_is_done_once() {
    for path in files("good").into_iter().chain(files("bad")) {
        let text = fs::read_to_string(&path).expect("the file is there");
        let Ok(once) = layout(&text) else { continue };
        assert_eq!(toml_value(&once), toml_value(&text), "{}", path.display());
        assert_eq!(layout(&once).as_ref(), Ok(&once), "{}", path.display());
    }
}
