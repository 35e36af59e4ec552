//! "Did you mean": the known word closest to what was written.

/// Longer words are not compared: nobody mistypes that much of one.
const WORD_BYTES_MAX: usize = 64;

/// The word of `known` closest to `written`, if one is close enough to be meant.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if written.len() > WORD_BYTES_MAX {
        return None;
    }
    let lower = written.to_ascii_lowercase().replace('_', "-");
    let allowed = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|word| word.len().abs_diff(written.len()) <= allowed)
        .map(|word| (distance(&lower, &word.to_ascii_lowercase()), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other
/// (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = row[j] + usize::from(a != b);
            let mut best = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

/// The members of a list as a sentence names them: `a, b or c`.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => (*last).to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_the_one_that_was_meant() {
        let known = ["balance", "endpoints", "hash", "retry", "keepalive"];
        for (written, expected) in [
            ("balanec", Some("balance")),
            ("endpoint", Some("endpoints")),
            ("keep-alive", Some("keepalive")),
            ("Retry", Some("retry")),
            ("hsah", Some("hash")),
            ("weights", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known), expected, "{written}");
        }
    }
}
