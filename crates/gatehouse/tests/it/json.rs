//! JSON (RFC 8259) as a test reads it: strict, whole, in memory.

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Flag(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Table(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text that is one value and nothing else.
    #[track_caller]
    pub fn read(text: &str) -> Json {
        let mut reader = Reader { rest: text };
        let value = reader.value();
        reader.space();
        match value {
            Some(value) if reader.rest.is_empty() => value,
            _ => {
                let at = text.len() - reader.rest.len();
                panic!("not JSON from byte {at} on: {text}")
            }
        }
    }

    /// The value of a key, if this is a table that has it.
    pub fn find(&self, key: &str) -> Option<&Json> {
        let Json::Table(entries) = self else { return None };
        entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// The value of a key.
    #[track_caller]
    pub fn at(&self, key: &str) -> &Json {
        self.find(key).unwrap_or_else(|| panic!("no {key:?} in {self:?}"))
    }

    /// The text of a key.
    #[track_caller]
    pub fn text(&self, key: &str) -> &str {
        match self.at(key) {
            Json::Text(text) => text,
            other => panic!("{key:?} is no text: {other:?}"),
        }
    }

    /// The whole number of a key.
    #[track_caller]
    pub fn count(&self, key: &str) -> u64 {
        match self.at(key) {
            Json::Number(number) if number.fract() == 0.0 && *number >= 0.0 => *number as u64,
            other => panic!("{key:?} is no count: {other:?}"),
        }
    }

    /// The values of a list under a key.
    #[track_caller]
    pub fn list(&self, key: &str) -> &[Json] {
        match self.at(key) {
            Json::List(values) => values,
            other => panic!("{key:?} is no list: {other:?}"),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn takes(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self) -> Option<Json> {
        self.space();
        match self.rest.bytes().next()? {
            b'{' => self.table(),
            b'[' => self.list(),
            b'"' => self.text().map(Json::Text),
            b't' => self.takes("true").then_some(Json::Flag(true)),
            b'f' => self.takes("false").then_some(Json::Flag(false)),
            b'n' => self.takes("null").then_some(Json::Null),
            _ => self.number(),
        }
    }

    fn table(&mut self) -> Option<Json> {
        let mut entries: Vec<(String, Json)> = Vec::new();
        self.takes("{");
        self.space();
        if self.takes("}") {
            return Some(Json::Table(entries));
        }
        loop {
            self.space();
            let key = self.text()?;
            // A reader may take either of two equal keys: none may be there.
            if entries.iter().any(|(known, _)| *known == key) {
                return None;
            }
            self.space();
            if !self.takes(":") {
                return None;
            }
            entries.push((key, self.value()?));
            self.space();
            if self.takes("}") {
                return Some(Json::Table(entries));
            }
            if !self.takes(",") {
                return None;
            }
        }
    }

    fn list(&mut self) -> Option<Json> {
        let mut values = Vec::new();
        self.takes("[");
        self.space();
        if self.takes("]") {
            return Some(Json::List(values));
        }
        loop {
            values.push(self.value()?);
            self.space();
            if self.takes("]") {
                return Some(Json::List(values));
            }
            if !self.takes(",") {
                return None;
            }
        }
    }

    fn text(&mut self) -> Option<String> {
        if !self.takes("\"") {
            return None;
        }
        let mut out = String::new();
        loop {
            let c = self.rest.chars().next()?;
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '"' => return Some(out),
                '\\' => out.push(self.escaped()?),
                c if c < ' ' => return None,
                c => out.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits = self.rest.get(..4)?;
                self.rest = &self.rest[4..];
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            _ => return None,
        })
    }

    fn number(&mut self) -> Option<Json> {
        let end = self.rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let digits = text.strip_prefix('-').unwrap_or(text);
        let led =
            digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if led || !digits.starts_with(|c: char| c.is_ascii_digit()) || text.ends_with('.') {
            return None;
        }
        self.rest = rest;
        text.parse().ok().map(Json::Number)
    }
}
