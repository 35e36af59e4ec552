//! JSON as it is written, for `--json` and the schema. Nothing here reads any.

use std::fmt::{self, Write};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Count(u64),
    /// A finite number.
    Number(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, its members in this order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// A string.
    pub fn text(text: impl Into<String>) -> Json {
        Json::Text(text.into())
    }

    /// An array.
    pub fn list(members: impl IntoIterator<Item = Json>) -> Json {
        Json::List(members.into_iter().collect())
    }

    /// An object.
    pub fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
        Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A string, or `null`.
    pub fn text_or_null(text: Option<impl Into<String>>) -> Json {
        text.map_or(Json::Null, Json::text)
    }

    fn write(&self, depth: usize, out: &mut impl Write) -> fmt::Result {
        match self {
            Json::Null => out.write_str("null"),
            Json::Flag(flag) => write!(out, "{flag}"),
            Json::Count(count) => write!(out, "{count}"),
            Json::Number(number) => write!(out, "{number}"),
            Json::Text(text) => quote(text, out),
            Json::List(members) => {
                let write = |member: &Json, out: &mut _| member.write(depth + 1, out);
                nest(['[', ']'], members, depth, out, write)
            }
            Json::Object(members) => {
                let write = |(name, value): &(String, Json), out: &mut _| {
                    quote(name, out)?;
                    Write::write_str(out, ": ")?;
                    value.write(depth + 1, out)
                };
                nest(['{', '}'], members, depth, out, write)
            }
        }
    }
}

impl fmt::Display for Json {
    /// Two spaces a level, one member a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(0, f)
    }
}

fn nest<T, W: Write>(
    [open, close]: [char; 2],
    members: &[T],
    depth: usize,
    out: &mut W,
    write: impl Fn(&T, &mut W) -> fmt::Result,
) -> fmt::Result {
    out.write_char(open)?;
    for (at, member) in members.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        write!(out, "{comma}\n{:1$}", "", (depth + 1) * 2)?;
        write(member, out)?;
    }
    if !members.is_empty() {
        write!(out, "\n{:1$}", "", depth * 2)?;
    }
    out.write_char(close)
}

fn quote(text: &str, out: &mut impl Write) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            c if (c as u32) < 0x20 || c == '\u{7f}' => write!(out, "\\u{:04x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}
