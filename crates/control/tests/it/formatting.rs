//! `gatehouse fmt`.

use crate::examples::examples;
use crate::golden::files;
use crate::json_schema::toml_value;
use gatehouse_control::config::{NotToml, layout};
use std::fs;

#[test]
fn a_file_is_laid_out_and_its_comments_stay() {
    let written = "\
\n\n# about the file\n\n\n  workers=4   # a number\n[ listeners . web ]# where\n\n\nbind   =  \":8080\"\n\
# about the route\n[[routes]]\nmethods = [ \"GET\",\"POST\" ,]\n\
headers={x-a=\"1\",x-b = \"2\"  }\nhost = [\n# the first\n\"a.example\", # trailing\n\n\"b.example\"\n # last\n]\n\
[upstreams.a]\nendpoints = [\"10.0.0.1:9000\", \"10.0.0.2:9000\", \"10.0.0.3:9000\", \"10.0.0.4:9000\", \"10.0.0.5:9000\", \"a:1\"]\n\
empty = []\nnone = {}\ntext = \"\"\"a\n b\"\"\"\n\n\n";
    let expected = "\
# about the file\n\nworkers = 4 # a number\n\n[listeners.web] # where\nbind = \":8080\"\n\n\
# about the route\n[[routes]]\nmethods = [\"GET\", \"POST\"]\nheaders = { x-a = \"1\", x-b = \"2\" }\n\
host = [\n    # the first\n    \"a.example\", # trailing\n    \"b.example\",\n    # last\n]\n\n\
[upstreams.a]\nendpoints = [\n    \"10.0.0.1:9000\",\n    \"10.0.0.2:9000\",\n    \"10.0.0.3:9000\",\n    \
\"10.0.0.4:9000\",\n    \"10.0.0.5:9000\",\n    \"a:1\",\n]\nempty = []\nnone = {}\ntext = \"\"\"a\n b\"\"\"\n";
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
