//! Hosts and paths as one tree of labels, held in flat arrays.
//!
//! A label hangs below a parent: a host below one of three scopes, the first path segment (its
//! slash included) below its host, each further segment below the one before. One lookup costs
//! the same whatever the number of routes, and a path costs one lookup for each segment that some
//! route knows. Rows are found by hash and always compared: a request chooses its labels.

use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hasher};

/// No row, no group.
pub(super) const NONE: u32 = u32::MAX;

/// The parent of exact hosts.
pub(super) const EXACT_HOST: u32 = NONE - 1;
/// The parent of wildcard suffixes.
pub(super) const WILDCARD_HOST: u32 = NONE - 2;
/// The parent of the one row for routes without a host.
pub(super) const ANY_HOST: u32 = NONE - 3;

/// Labels by parent and text. A label's number is its place in order of insertion.
#[derive(Debug, Default)]
pub(super) struct Labels {
    slots: Vec<Slot>,
    rows: Vec<Row>,
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u32,
    row: u32,
}

const FREE: Slot = Slot { tag: 0, row: NONE };

#[derive(Clone, Copy, Debug)]
struct Row {
    parent: u32,
    start: u32,
    len: u32,
}

impl Labels {
    /// Rows so far.
    pub(super) fn len(&self) -> u32 {
        self.rows.len() as u32
    }

    /// The row a label hangs below.
    pub(super) fn parent(&self, row: u32) -> u32 {
        self.rows[row as usize].parent
    }

    /// Bytes of a row's own label.
    pub(super) fn label_len(&self, row: u32) -> u32 {
        self.rows[row as usize].len
    }

    /// The row of `label` below `parent`.
    #[inline]
    pub(super) fn find(&self, parent: u32, label: &[u8]) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let hash = hash(parent, label);
        let (mut at, tag) = (hash as usize, (hash >> 32) as u32);
        loop {
            let slot = self.slots[at & (self.slots.len() - 1)];
            if slot.row == NONE {
                return None;
            }
            if slot.tag == tag && self.is(slot.row, parent, label) {
                return Some(slot.row);
            }
            at = at.wrapping_add(1);
        }
    }

    fn is(&self, row: u32, parent: u32, label: &[u8]) -> bool {
        let row = self.rows[row as usize];
        let text = &self.text[row.start as usize..][..row.len as usize];
        row.parent == parent && text == label
    }

    /// The row of `label` below `parent`, made where it is missing. The texts of all routes
    /// together are far below 4 GiB: they were read from files into memory.
    pub(super) fn insert(&mut self, parent: u32, label: &[u8]) -> u32 {
        if let Some(row) = self.find(parent, label) {
            return row;
        }
        if self.slots.len() < 2 * (self.rows.len() + 1) {
            self.grow();
        }
        let row = self.len();
        self.place(hash(parent, label), row);
        self.rows.push(Row { parent, start: self.text.len() as u32, len: label.len() as u32 });
        self.text.extend_from_slice(label);
        row
    }

    fn grow(&mut self) {
        let slots = (4 * self.slots.len()).max(16);
        self.slots = vec![FREE; slots];
        for row in 0..self.len() {
            let Row { parent, start, len } = self.rows[row as usize];
            let label = &self.text[start as usize..][..len as usize];
            self.place(hash(parent, label), row);
        }
    }

    fn place(&mut self, hash: u64, row: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].row != NONE {
            at = (at + 1) & mask;
        }
        self.slots[at] = Slot { tag: (hash >> 32) as u32, row };
    }

    /// Gives back the room that growing left over.
    pub(super) fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.text.shrink_to_fit();
    }
}

/// Tables are only read by requests, so a fixed seed gives a peer nothing to fill them with.
#[inline]
fn hash(parent: u32, label: &[u8]) -> u64 {
    let seed = u64::from(parent).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut hasher = FixedState::with_seed(seed).build_hasher();
    hasher.write(label);
    let bits = hasher.finish();
    bits ^ (bits >> 29)
}

/// The labels of a path: each segment with the slash before it.
pub(super) fn labels_of(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let (label, tail) = first_label(rest)?;
        rest = tail;
        Some(label)
    })
}

/// The first label of a path and what follows it.
#[inline]
fn first_label(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, behind) = path.split_first()?;
    let end = behind.iter().position(|byte| *byte == b'/').unwrap_or(behind.len());
    Some(path.split_at(end + 1))
}

/// What hangs at a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The group of routes for exactly this path.
    pub(super) exact: u32,
    /// The group of routes for this path and everything below.
    pub(super) prefix: u32,
    /// The nearest row above that has a `prefix`.
    pub(super) up: u32,
    /// Bytes of the path down to here.
    pub(super) path_len: u32,
}

/// Where a path leads in a tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trail {
    /// The group of exact routes.
    pub(super) exact: u32,
    /// The row of the longest prefix.
    pub(super) prefix: u32,
}

/// Follows `path` below `root` as far as any route goes.
#[inline]
pub(super) fn descend(labels: &Labels, nodes: &[Node], root: u32, path: &[u8]) -> Trail {
    let (mut row, mut rest) = (root, path);
    while let Some((label, tail)) = first_label(rest) {
        let Some(next) = labels.find(row, label) else { break };
        (row, rest) = (next, tail);
    }
    let node = nodes[row as usize];
    Trail {
        exact: if rest.is_empty() { node.exact } else { NONE },
        prefix: if node.prefix == NONE { node.up } else { row },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_segments_with_their_slashes() {
        let labels = |path: &'static str| -> Vec<&[u8]> { labels_of(path.as_bytes()).collect() };
        assert_eq!(labels("/a//b/"), [&b"/a"[..], b"/", b"/b", b"/"]);
        assert_eq!(labels("*"), [b"*"]);
        assert!(labels("").is_empty());
    }

    #[test]
    fn a_label_is_found_below_its_own_parent_only() {
        let mut labels = Labels::default();
        let rows: Vec<u32> = (0..1_000_u32)
            .map(|at| labels.insert(at % 10, format!("/{}", at / 10).as_bytes()))
            .collect();
        assert_eq!(rows, (0..1_000).collect::<Vec<_>>());
        for at in 0..1_000_u32 {
            let text = format!("/{}", at / 10);
            assert_eq!(labels.find(at % 10, text.as_bytes()), Some(at));
            assert_eq!(labels.find(10 + at, text.as_bytes()), None);
        }
        assert_eq!(labels.insert(3, b"/0"), 3);
        assert_eq!(Labels::default().find(0, b"/"), None);
    }
}
