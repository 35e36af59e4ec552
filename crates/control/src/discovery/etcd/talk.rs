//! What etcd v3 is asked over its JSON gateway, and what its answers mean. No socket, no clock.
//!
//! Bytes are base 64 there and 64-bit numbers are texts, as proto3 maps them to JSON; what is 0,
//! false or empty is left out.

use crate::base64::{base64, from_base64};
use crate::config::Json;
use crate::json_text::read_json;

/// A key and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// The revision it was last written in.
    pub revision: u64,
}

/// What a range holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    /// Which cluster says so.
    pub cluster: u64,
    /// As of which revision.
    pub revision: u64,
    pub pairs: Vec<Pair>,
    /// How many there are, those that were not asked for included.
    pub count: u64,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub cluster: u64,
    /// As of which revision.
    pub revision: u64,
    pub events: Vec<Event>,
    pub end: Option<End>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Put(Pair),
    /// This key, in this revision.
    Deleted(Vec<u8>, u64),
}

/// Why a watch ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// What it was to tell is forgotten: compacted.
    Compacted,
    /// These words.
    Refused(Refusal),
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Who asks: nobody, or somebody unknown.
    Credentials,
    /// What this user may do.
    Permission,
    /// The token: it has expired.
    Token,
    /// There is no authentication there.
    NoAuthentication,
    /// Anything else.
    Other,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub about: About,
    pub why: String,
}

/// The first key behind all that begin with `prefix`.
pub(crate) fn range_end(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix.iter().rposition(|byte| *byte < 0xff).map_or(0, |at| at + 1);
    let mut end = prefix[..kept].to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        // To the end of all keys.
        None => end.push(0),
    }
    end
}

fn bytes(bytes: &[u8]) -> Json {
    Json::Text(base64(bytes))
}

fn number(number: u64) -> Json {
    Json::Text(number.to_string())
}

/// Asks for all below a prefix, up to so many.
pub(crate) fn ask_range(prefix: &[u8], limit: u64) -> Json {
    // An empty key is none to etcd, and 0 is the least that is one.
    let first: &[u8] = if prefix.is_empty() { &[0] } else { prefix };
    Json::object([
        ("key", bytes(first)),
        ("range_end", bytes(&range_end(prefix))),
        ("limit", number(limit)),
    ])
}

/// Asks for one key.
pub(crate) fn ask_key(key: &[u8]) -> Json {
    Json::object([("key", bytes(key))])
}

/// Asks what was written last below a prefix, and how many keys there are.
pub(crate) fn ask_newest(prefix: &[u8]) -> Json {
    let Json::Object(mut members) = ask_range(prefix, 1) else { return Json::Null };
    let more = [
        ("keys_only", Json::Flag(true)),
        ("sort_order", Json::text("DESCEND")),
        ("sort_target", Json::text("MOD")),
    ];
    members.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Json::Object(members)
}

/// Asks to be told of changes from a revision on: of one key, or of all below a prefix.
pub(crate) fn ask_watch(of: &Json, from: u64) -> Json {
    let mut members: Vec<(String, Json)> = Vec::new();
    for name in ["key", "range_end"] {
        members.extend(of.member(name).map(|value| (name.to_owned(), value.clone())));
    }
    members.push(("start_revision".to_owned(), number(from)));
    members.push(("progress_notify".to_owned(), Json::Flag(true)));
    Json::object([("create_request", Json::Object(members))])
}

/// Asks for a token.
pub(crate) fn ask_token(user: &str, password: &str) -> Json {
    Json::object([("name", Json::text(user)), ("password", Json::text(password))])
}

/// Asks to put a value where the key was last written in `revision`; 0 is where it is not there.
pub(crate) fn ask_put(key: &[u8], value: &[u8], revision: u64) -> Json {
    let compare = Json::object([
        ("key", bytes(key)),
        ("target", Json::text("MOD")),
        ("result", Json::text("EQUAL")),
        ("mod_revision", number(revision)),
    ]);
    let put = Json::object([("key", bytes(key)), ("value", bytes(value))]);
    Json::object([
        ("compare", Json::list([compare])),
        ("success", Json::list([Json::object([("request_put", put)])])),
    ])
}

/// What is wrong with an answer that is none of etcd's.
pub(crate) type Unreadable = String;

fn of_member(of: &Json, name: &str) -> Result<u64, Unreadable> {
    match of.member(name) {
        None | Some(Json::Null) => Ok(0),
        Some(Json::Count(count)) => Ok(*count),
        Some(Json::Text(text)) => {
            text.parse().map_err(|_| format!("its answer has no number as its {name}"))
        }
        Some(_) => Err(format!("its answer has no number as its {name}")),
    }
}

fn bytes_of(of: &Json, name: &str) -> Result<Vec<u8>, Unreadable> {
    match of.member(name) {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::Text(text)) => {
            from_base64(text).ok_or_else(|| format!("its answer has no base 64 as a {name}"))
        }
        Some(_) => Err(format!("its answer has no base 64 as a {name}")),
    }
}

fn pair(of: &Json) -> Result<Pair, Unreadable> {
    let (key, value) = (bytes_of(of, "key")?, bytes_of(of, "value")?);
    Ok(Pair { key, value, revision: of_member(of, "mod_revision")? })
}

fn list<'a>(of: &'a Json, name: &str) -> Result<&'a [Json], Unreadable> {
    match of.member(name) {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::List(items)) => Ok(items),
        Some(_) => Err(format!("its answer has no list as its {name}")),
    }
}

fn header(of: &Json) -> Result<(u64, u64), Unreadable> {
    let header = of.member("header").ok_or("its answer has no header: is it etcd v3?")?;
    Ok((of_member(header, "cluster_id")?, of_member(header, "revision")?))
}

/// What a range answers.
pub(crate) fn read_range(text: &str) -> Result<Range, Unreadable> {
    let answer = read_json(text).map_err(|why| format!("its answer is {why}"))?;
    let (cluster, revision) = header(&answer)?;
    let pairs = list(&answer, "kvs")?.iter().map(pair).collect::<Result<_, _>>()?;
    Ok(Range { cluster, revision, pairs, count: of_member(&answer, "count")? })
}

/// What a watch tells in one line.
pub(crate) fn read_told(line: &str) -> Result<Told, Unreadable> {
    let answer = read_json(line).map_err(|why| format!("its answer is {why}"))?;
    let Some(result) = answer.member("result") else {
        let end = Some(End::Refused(refusal(&answer)));
        return Ok(Told { cluster: 0, revision: 0, events: Vec::new(), end });
    };
    let (cluster, revision) = header(result)?;
    let event = |event: &Json| {
        let pair = pair(event.member("kv").ok_or("its answer has an event without its key")?)?;
        Ok::<_, Unreadable>(match event.text_of("type") {
            None | Some("PUT") => Event::Put(pair),
            Some("DELETE") => Event::Deleted(pair.key, pair.revision),
            Some(_) => return Err("its answer has an event that nobody knows".to_owned()),
        })
    };
    let events = list(result, "events")?.iter().map(event).collect::<Result<_, _>>()?;
    let canceled = result.member("canceled") == Some(&Json::Flag(true));
    let end = match (of_member(result, "compact_revision")?, canceled) {
        (0, false) => None,
        (0, true) => Some(End::Refused(judged(result.text_of("cancel_reason")))),
        (_, _) => Some(End::Compacted),
    };
    Ok(Told { cluster, revision, events, end })
}

/// The token that an answer gives.
pub(crate) fn read_token(text: &str) -> Result<String, Unreadable> {
    let answer = read_json(text).map_err(|why| format!("its answer is {why}"))?;
    let token = answer.text_of("token").filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
    token.map(str::to_owned).ok_or_else(|| "its answer has no token".to_owned())
}

/// Whether what was asked for under a condition was done, and as of which revision.
pub(crate) fn read_put(text: &str) -> Result<Option<u64>, Unreadable> {
    let answer = read_json(text).map_err(|why| format!("its answer is {why}"))?;
    let (_, revision) = header(&answer)?;
    Ok((answer.member("succeeded") == Some(&Json::Flag(true))).then_some(revision))
}

/// What an answer with another status than 200 says.
pub(crate) fn read_refusal(status: u16, text: &str) -> Refusal {
    if status == 404 {
        let why = "it has no /v3 (status 404): etcd has had that since 3.4".to_owned();
        return Refusal { about: About::Other, why };
    }
    match read_json(text) {
        Ok(answer) => refusal(&answer),
        Err(_) => Refusal { about: About::Other, why: format!("it answers with status {status}") },
    }
}

fn refusal(answer: &Json) -> Refusal {
    let own = answer.member("error").filter(|error| matches!(error, Json::Object(_)));
    let of = own.unwrap_or(answer);
    judged(of.text_of("message").or_else(|| of.text_of("error")))
}

/// Bytes of others' words that are shown.
const WORDS_MAX: usize = 300;

fn judged(words: Option<&str>) -> Refusal {
    let words = words.unwrap_or("it refuses, and does not say why");
    let about = match words {
        _ if words.contains("authentication failed") => About::Credentials,
        _ if words.contains("user name is empty") => About::Credentials,
        _ if words.contains("permission denied") => About::Permission,
        _ if words.contains("invalid auth token") => About::Token,
        // Users or roles have changed since it was given.
        _ if words.contains("auth store is old") => About::Token,
        _ if words.contains("authentication is not enabled") => About::NoAuthentication,
        _ => About::Other,
    };
    let shown: String = words.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
    Refusal { about, why: shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &str = "\"header\":{\"cluster_id\":\"9\",\"member_id\":\"1\",\"revision\":\"7\"}";

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        for (prefix, end) in [
            (&b"/s/"[..], &b"/s0"[..]),
            (b"a", b"b"),
            (b"", b"\0"),
            (b"a\xff", b"b"),
            (b"\xff\xff", b"\0"),
        ] {
            assert_eq!(range_end(prefix), end, "{prefix:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_begins_with_a_prefix_is_in_its_range(prefix: Vec<u8>, rest: Vec<u8>) {
            let key = [prefix.clone(), rest].concat();
            let end = range_end(&prefix);
            prop_assert!(key >= prefix && (end == [0] || key < end));
        }

        #[test]
        fn no_answer_is_too_much(text in ".*") {
            let _ = (read_range(&text), read_told(&text), read_token(&text), read_put(&text));
            let _ = read_refusal(400, &text);
        }

        #[test]
        fn half_an_answer_is_none_or_refused(cut in 0usize..200) {
            let text = format!("{{{HEADER},\"kvs\":[{{\"key\":\"YQ==\",\"value\":\"eA==\"}}]}}");
            if cut < text.len() {
                prop_assert!(read_range(&text[..cut]).is_err());
            }
        }
    }

    #[test]
    fn a_range_is_read_as_etcd_writes_it() {
        let text = format!(
            "{{{HEADER},\"kvs\":[{{\"key\":\"YQ==\",\"create_revision\":\"2\",\
             \"mod_revision\":\"3\",\"version\":\"1\",\"value\":\"eA==\"}},{{\"key\":\"Yg==\"}}],\
             \"count\":\"2\"}}"
        );
        let pair = |key: &[u8], value: &[u8], revision| Pair {
            key: key.to_vec(),
            value: value.to_vec(),
            revision,
        };
        let pairs = vec![pair(b"a", b"x", 3), pair(b"b", b"", 0)];
        let range = Range { cluster: 9, revision: 7, pairs, count: 2 };
        assert_eq!(read_range(&text), Ok(range));
        let empty = Range { cluster: 9, revision: 7, pairs: Vec::new(), count: 0 };
        assert_eq!(read_range(&format!("{{{HEADER}}}")), Ok(empty));
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_is_wrong() {
        for (text, why) in [
            ("", "its answer is not JSON"),
            ("[]", "is it etcd v3?"),
            ("{\"header\":{\"revision\":\"x\"}}", "no number as its revision"),
            ("{\"header\":{},\"kvs\":{}}", "no list as its kvs"),
            ("{\"header\":{},\"kvs\":[{\"key\":\"*\"}]}", "no base 64 as a key"),
            ("{\"header\":{},\"kvs\":[{\"key\":1}]}", "no base 64 as a key"),
        ] {
            let said = read_range(text).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn a_watch_is_read_as_etcd_writes_it() {
        let told = |rest: &str| read_told(&format!("{{\"result\":{{{HEADER}{rest}}}}}"));
        let of = |events: Vec<Event>, end| Ok(Told { cluster: 9, revision: 7, events, end });
        assert_eq!(told(",\"created\":true"), of(Vec::new(), None));
        let put = Pair { key: b"a".to_vec(), value: b"x".to_vec(), revision: 7 };
        let events = ",\"events\":[\
                      {\"kv\":{\"key\":\"YQ==\",\"mod_revision\":\"7\",\"value\":\"eA==\"}},\
                      {\"type\":\"DELETE\",\"kv\":{\"key\":\"Yg==\",\"mod_revision\":\"7\"}}]";
        let both = vec![Event::Put(put), Event::Deleted(b"b".to_vec(), 7)];
        assert_eq!(told(events), of(both, None));
        let compacted = ",\"canceled\":true,\"compact_revision\":\"6\"";
        assert_eq!(told(compacted), of(Vec::new(), Some(End::Compacted)));
        let words = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        let refused = Refusal { about: About::Permission, why: words.to_owned() };
        let denied = format!(",\"created\":true,\"canceled\":true,\"cancel_reason\":\"{words}\"");
        assert_eq!(told(&denied), of(Vec::new(), Some(End::Refused(refused))));
        assert!(told(",\"events\":[{}]").is_err());
        assert!(told(",\"events\":[{\"type\":\"MOVE\",\"kv\":{}}]").is_err());
        let closing =
            read_told("{\"error\":{\"grpc_code\":14,\"message\":\"transport is closing\"}}");
        let why = "transport is closing".to_owned();
        let end = Some(End::Refused(Refusal { about: About::Other, why }));
        assert_eq!(closing, Ok(Told { cluster: 0, revision: 0, events: Vec::new(), end }));
    }

    #[test]
    fn refusals_are_told_apart_as_3_4_and_3_5_write_them() {
        let old = |why: &str| format!("{{\"error\":\"{why}\",\"message\":\"{why}\",\"code\":3}}");
        let new = |why: &str| format!("{{\"code\":3,\"message\":\"{why}\",\"details\":[]}}");
        for (words, about) in [
            ("etcdserver: authentication failed, invalid user ID or password", About::Credentials),
            ("etcdserver: user name is empty", About::Credentials),
            ("etcdserver: permission denied", About::Permission),
            ("etcdserver: invalid auth token", About::Token),
            ("etcdserver: authentication is not enabled", About::NoAuthentication),
            ("etcdserver: no leader", About::Other),
        ] {
            for text in [old(words), new(words)] {
                let refused = read_refusal(400, &text);
                assert_eq!(refused, Refusal { about, why: words.to_owned() });
            }
        }
        assert!(read_refusal(404, "404 page not found").why.contains("since 3.4"));
        assert!(read_refusal(502, "<html>").why.ends_with("status 502"));
    }

    #[test]
    fn what_is_asked_is_what_the_gateway_takes() {
        let one_line = |json: Json| json.to_string().split_whitespace().collect::<String>();
        assert_eq!(
            one_line(ask_range(b"/s/", 5)),
            "{\"key\":\"L3Mv\",\"range_end\":\"L3Mw\",\"limit\":\"5\"}"
        );
        assert_eq!(
            one_line(ask_watch(&ask_range(b"/s/", 5), 8)),
            "{\"create_request\":{\"key\":\"L3Mv\",\"range_end\":\"L3Mw\",\"start_revision\":\"8\",\
             \"progress_notify\":true}}"
        );
        assert!(
            one_line(ask_range(b"", 5)).starts_with("{\"key\":\"AA==\",\"range_end\":\"AA==\"")
        );
        assert!(one_line(ask_put(b"k", b"v", 0)).contains("\"mod_revision\":\"0\""));
    }
}
