//! Edits of header fields, compiled from the configuration.

use crate::message::Fields;

/// One field to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldEdit {
    /// Its name, a token in lower case.
    pub name: Box<str>,
    /// Its value, without CR, LF or NUL.
    pub value: Box<str>,
}

/// What to do to a field section: remove, then set, then add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Names of fields taken out.
    pub remove: Vec<Box<str>>,
    /// Fields put in place of all others of their name.
    pub set: Vec<FieldEdit>,
    /// Fields added beside others of their name.
    pub add: Vec<FieldEdit>,
}

impl Edits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Applies them.
    pub fn apply(&self, fields: &mut Fields) {
        for name in &self.remove {
            fields.remove_named(name.as_bytes());
        }
        for edit in &self.set {
            fields.set(edit.name.as_bytes(), edit.value.as_bytes());
        }
        for edit in &self.add {
            fields.append(edit.name.as_bytes(), edit.value.as_bytes());
        }
    }
}
