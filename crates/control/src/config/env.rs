//! `${NAME}` and `${NAME:-default}` inside strings, resolved after parsing.

/// Where `${NAME}` is looked up. Handed in, so that tests decide what is set.
pub trait Env {
    /// The value of a variable; `None` where it is not set or not text.
    fn var(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// Variables listed by hand; `[]` is an environment without any.
impl<const N: usize> Env for [(&str, &str); N] {
    fn var(&self, name: &str) -> Option<String> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
    }
}

/// A string with its references resolved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) text: String,
    /// Whether the string was one reference and nothing else: it takes the type of its key.
    pub(crate) whole: bool,
}

/// A reference that could not be resolved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RefFault {
    /// The reference as written, `${` first.
    pub(crate) written: String,
    pub(crate) reason: String,
    pub(crate) hint: String,
}

/// Resolves all references of `text`; `None` where it has none and no `$$`.
pub(crate) fn resolve(text: &str, env: &dyn Env) -> Result<Option<Resolved>, RefFault> {
    if !text.contains("${") && !text.contains("$$") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut whole = false;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(tail) = rest.strip_prefix("$$") {
            out.push('$');
            rest = tail;
        } else if rest.starts_with("${") {
            whole = rest.len() == text.len();
            rest = reference(rest, env, &mut out)?;
            whole &= rest.is_empty();
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(Some(Resolved { text: out, whole }))
}

/// Resolves the reference at the start of `rest` and returns what follows it.
fn reference<'a>(rest: &'a str, env: &dyn Env, out: &mut String) -> Result<&'a str, RefFault> {
    let fault = |written: &str, reason: String, hint: String| {
        Err(RefFault { written: written.to_owned(), reason, hint })
    };
    let Some(end) = rest.find('}') else {
        let reason = "a reference that does not end: `}` is missing".to_owned();
        return fault("${", reason, "write `$$` for a dollar".to_owned());
    };
    let (written, body) = (&rest[..=end], &rest[2..end]);
    let (name, default) = match body.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (body, None),
    };
    let named = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !named || name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
        let reason = format!("`{written}` is no reference to an environment variable");
        return fault(written, reason, format!("write `${written}` for the text itself"));
    }
    match (env.var(name).filter(|value| !value.is_empty() || default.is_none()), default) {
        (Some(value), _) => out.push_str(&value),
        (None, Some(default)) => out.push_str(default),
        (None, None) => {
            let reason = format!("the environment variable {name} is not set");
            let hint = format!(
                "set it, give a default with `${{{name}:-default}}`, or write `${written}` for \
                 the text itself"
            );
            return fault(written, reason, hint);
        }
    }
    Ok(&rest[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENV: [(&str, &str); 2] = [("PORT", "8080"), ("EMPTY", "")];

    #[test]
    fn references_are_resolved_and_dollars_kept() {
        for (text, expected, whole) in [
            ("${PORT}", "8080", true),
            (":${PORT}", ":8080", false),
            ("${PORT}${PORT}", "80808080", false),
            ("${NONE:-x y}", "x y", true),
            ("${EMPTY:-x}", "x", true),
            ("${EMPTY}", "", true),
            ("$$", "$", false),
            ("$${PORT}", "${PORT}", false),
            ("$$${PORT}", "$8080", false),
            ("a$1 $path ${PORT}$", "a$1 $path 8080$", false),
        ] {
            let resolved = resolve(text, &ENV).unwrap().unwrap();
            assert_eq!(resolved, Resolved { text: expected.to_owned(), whole }, "{text}");
        }
        assert_eq!(resolve("^/dir(/.*)?$ $1", &ENV), Ok(None));
    }

    #[test]
    fn a_reference_to_nothing_is_a_fault() {
        for (text, written) in
            [("a ${NONE}", "${NONE}"), ("${", "${"), ("${1}", "${1}"), ("${}", "${}")]
        {
            assert_eq!(resolve(text, &ENV).unwrap_err().written, written, "{text}");
        }
    }
}
