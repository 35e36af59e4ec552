//! A list of endpoints in a file: JSON, or TOML where its name says so. A file that is wrong
//! anywhere is wrong as a whole: somebody is writing it, and the last good list stays meanwhile.

use super::found::{Found, Set, weight};
use super::reports::Reports;
use crate::config::{FileSource, Json};
use crate::json_text::read_json_list;
use crate::watched;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::{Timer, now};
use gatehouse_wire::told::Told;
use std::collections::BTreeSet;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// The largest file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// How often the content is compared without being told.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// How long nothing must happen before the file is read: writers write in pieces.
const QUIET: Duration = Duration::from_millis(50);

/// Writers that never pause are not waited for any longer.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// Follows a file.
pub(super) async fn follow(source: FileSource, reports: Reports) {
    let FileSource { path } = source;
    let mut watch = Watch::new(&path);
    let mut known: Option<String> = None;
    loop {
        watch.follow(&path);
        match read(&path) {
            Ok(text) if known.as_ref() == Some(&text) => reports.still(),
            Ok(text) => match list(&path, &text) {
                Ok(found) => {
                    reports.found(Set::new(found, Vec::new()));
                    known = Some(text);
                }
                Err(why) => reports.failed(why),
            },
            Err(why) => reports.failed(why),
        }
        if watch.is_told(now().after(COMPARE_EVERY)).await {
            let end = now().after(QUIET_MAX);
            while now() < end && watch.is_told(now().after(QUIET).min(end)).await {}
        }
    }
}

/// What the kernel tells of a file; nothing, where it has no descriptor left for that.
struct Watch {
    told: Option<Told>,
    watched: BTreeSet<PathBuf>,
}

impl Watch {
    fn new(path: &Path) -> Watch {
        let told = watched::open().and_then(Told::register);
        let told = told.inspect_err(|error| {
            let every = COMPARE_EVERY.as_secs();
            eprintln!("warn: {} is only compared every {every} s: {error}", path.display());
        });
        Watch { told: told.ok(), watched: BTreeSet::new() }
    }

    fn follow(&mut self, path: &Path) {
        let places = watched::places_of(path).into_iter().collect();
        if let Some(told) = &self.told {
            watched::follow(told.as_fd(), places, &mut self.watched);
        }
    }

    /// Waits until something is told, or `until`, and takes all that is told.
    async fn is_told(&mut self, until: Moment) -> bool {
        let mut timer = Timer::default();
        let mut room = [0; 4_096];
        let mut any = false;
        poll_fn(|cx| {
            while let Some(Poll::Ready(Ok(1..))) =
                self.told.as_mut().map(|told| told.poll_read(cx, &mut room))
            {
                any = true;
            }
            if any { Poll::Ready(true) } else { timer.poll_until(cx, until).map(|()| false) }
        })
        .await
    }
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    // Opening a pipe would wait for whoever writes it.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!("it has more than {FILE_BYTES_MAX} bytes")),
        false => Ok(text),
    }
}

/// The endpoints of a text, or what is wrong with it and where.
fn list(path: &Path, text: &str) -> Result<Vec<Found>, String> {
    let values = match path.extension().is_some_and(|own| own == "toml") {
        true => toml_list(text),
        false => read_json_list(text).map_err(|(at, why)| (at, why.to_owned())),
    };
    let found = values.and_then(|values| {
        let each = values.iter().map(|(at, value)| endpoint(value).map_err(|why| (*at, why)));
        each.collect()
    });
    found.map_err(|(at, why)| {
        let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        format!("{}:{line}: {why}", path.display())
    })
}

/// What is wrong, and at which byte.
type Wrong = (usize, String);

fn toml_list(text: &str) -> Result<Vec<(usize, Json)>, Wrong> {
    let (table, faults) = DeTable::parse_recoverable(text);
    if let Some(fault) = faults.first() {
        let at = fault.span().map_or(0, |span| span.start);
        return Err((at, fault.message().to_owned()));
    }
    let mut endpoints = None;
    for (name, value) in table.get_ref() {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("endpoints", DeValue::Array(items)) => endpoints = Some(items),
            ("endpoints", _) => return Err((value.span().start, "no list".to_owned())),
            (other, _) => {
                let why = format!("unknown key `{}`: it has `endpoints`", other.escape_debug());
                return Err((name.span().start, why));
            }
        }
    }
    let endpoints = endpoints.ok_or_else(|| (0, "it has no `endpoints = […]`".to_owned()))?;
    let each = endpoints.iter();
    each.map(|item| Ok((item.span().start, json(item.get_ref(), item.span().start)?))).collect()
}

/// The same value as JSON has it.
fn json(value: &DeValue<'_>, at: usize) -> Result<Json, Wrong> {
    Ok(match value {
        DeValue::String(text) => Json::text(text.to_string()),
        DeValue::Boolean(flag) => Json::Flag(*flag),
        DeValue::Integer(number) => {
            let count = u64::from_str_radix(number.as_str(), number.radix());
            count.map(Json::Count).map_err(|_| (at, "no number from 0 on".to_owned()))?
        }
        DeValue::Table(table) => {
            let members = table.iter().map(|(name, value)| {
                Ok((name.get_ref().to_string(), json(value.get_ref(), value.span().start)?))
            });
            Json::Object(members.collect::<Result<_, Wrong>>()?)
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
            return Err((at, "no text, number, flag or table".to_owned()));
        }
    })
}

fn endpoint(value: &Json) -> Result<Found, String> {
    let members = match value {
        Json::Text(text) => return Found::parse(text),
        Json::Object(members) => members,
        _ => return Err("an endpoint is \"host:port\" or a table with `address`".to_owned()),
    };
    let mut found = Found::parse(value.text_of("address").ok_or("it has no `address`")?)?;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("address", _) => {}
            ("weight", Json::Count(count)) => found.weight = weight(*count)?,
            ("backup", Json::Flag(backup)) => found.backup = *backup,
            ("zone", Json::Text(zone)) => found.zone = Some(zone.as_str().into()),
            ("metadata", Json::Object(metadata)) => {
                for (name, value) in metadata {
                    found.metadata.insert(name.as_str().into(), plain(value)?.into());
                }
            }
            ("weight" | "backup" | "zone" | "metadata", _) => {
                let shapes = "weight is a number, backup true or false, zone a text, metadata a \
                              table";
                return Err(format!("`{name}` is of the wrong type: {shapes}"));
            }
            (other, _) => {
                let known = "address, weight, backup, zone, metadata";
                return Err(format!(
                    "unknown key `{}`: it is one of {known}",
                    other.escape_debug()
                ));
            }
        }
    }
    Ok(found)
}

/// A value of metadata as text.
fn plain(value: &Json) -> Result<String, String> {
    match value {
        Json::Text(text) => Ok(text.clone()),
        Json::Flag(flag) => Ok(flag.to_string()),
        Json::Count(count) => Ok(count.to_string()),
        Json::Number(number) => Ok(number.to_string()),
        Json::Null | Json::List(_) | Json::Object(_) => {
            Err("metadata is texts, numbers and flags by name".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, text: &str) -> String {
        match list(Path::new(name), text) {
            Ok(found) => format!("{} endpoints", found.len()),
            Err(why) => why,
        }
    }

    #[test]
    fn json_and_toml_say_the_same() {
        let json = "[\n  \"10.0.0.1:80\",\n  {\"address\": \"b:81\", \"weight\": 3,\n   \
                    \"backup\": true, \"zone\": \"eu-1\",\n   \
                    \"metadata\": {\"version\": 2, \"blue\": false}}\n]\n";
        let toml = "# by hand\nendpoints = [\n  \"10.0.0.1:80\",\n  { address = \"b:81\", \
                    weight = 3, backup = true, zone = \"eu-1\", \
                    metadata = { version = 2, blue = false } },\n]\n";
        let found = list(Path::new("a.json"), json).expect("a good list");
        assert_eq!(list(Path::new("a.toml"), toml), Ok(found.clone()));
        assert_eq!((found[0].weight, found[0].backup, &found[0].zone), (1, false, &None));
        let two = &found[1];
        assert_eq!((two.weight, two.backup, two.zone.as_deref()), (3, true, Some("eu-1")));
        let metadata: Vec<(&str, &str)> = two.metadata.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(metadata, [("blue", "false"), ("version", "2")]);
        assert_eq!(said("a.json", "[]"), "0 endpoints");
        assert_eq!(said("a.toml", "endpoints = []"), "0 endpoints");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let table = [
            ("a.json", "", "a.json:1: it is no list"),
            ("a.json", "[\n\"10.0.0.1:80\",\n]", "a.json:3: "),
            ("a.json", "[\n\"10.0.0.1:80\",\n\"x\"\n]", "a.json:3: \"x\" is no endpoint: "),
            ("a.json", "[\"http://a:80\"]", "a.json:1: \"http://a:80\" is no endpoint: "),
            ("a.json", "[{}]", "a.json:1: it has no `address`"),
            ("a.json", "[7]", "a.json:1: an endpoint is"),
            ("a.json", "[{\"address\":\"a:1\",\"weight\":0}]", "a.json:1: weight 0 is not"),
            ("a.json", "[{\"address\":\"a:1\",\"weight\":\"1\"}]", "`weight` is of the wrong type"),
            ("a.json", "[{\"address\":\"a:1\",\"wight\":1}]", "unknown key `wight`"),
            ("a.json", "[{\"address\":\"a:1\",\"metadata\":{\"a\":[]}}]", "metadata is texts"),
            ("a.toml", "", "a.toml:1: it has no `endpoints"),
            ("a.toml", "\nendpoints = [\"a:1\"", "a.toml:2: "),
            ("a.toml", "endpoints = 1", "a.toml:1: no list"),
            ("a.toml", "endpoints = []\nother = 1", "a.toml:2: unknown key `other`"),
            ("a.toml", "endpoints = [\n\"a:1\",\n{ address = \"a\" }]", "a.toml:3: \"a\" is no"),
            ("a.toml", "endpoints = [1979-05-27]", "a.toml:1: no text"),
        ];
        for (name, text, expected) in table {
            let said = said(name, text);
            assert!(said.contains(expected), "{text:?}: {said}");
        }
    }
}
