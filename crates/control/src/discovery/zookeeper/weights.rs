//! Weights of all endpoints in one node, as the first generation's operators kept them: a JSON
//! object of address and weight, or a line for each.

use super::content::{plain, short, text};
use crate::config::Json;
use crate::discovery::found::Found;
use crate::json_text::read_json;
use gatehouse_core::address::Address;
use std::collections::HashMap;

/// What an endpoint has that is not named there: the first generation's.
pub(super) const WEIGHT_USUAL: u16 = 50;

/// The weights, and what of the content could not be used. 0 is none at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Weights {
    pub of: HashMap<Address, u16>,
    pub problems: Vec<String>,
}

/// Reads them.
pub(super) fn weights(content: &[u8]) -> Result<Weights, String> {
    let text = text(content)?;
    let mut weights = Weights::default();
    if text.trim_start().starts_with('{') {
        let Json::Object(members) = read_json(text)? else {
            return Err("its JSON is no object".to_owned());
        };
        for (address, value) in members {
            weights.note(&address, plain(value).as_deref().unwrap_or(""));
        }
        return Ok(weights);
    }
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        match line.rsplit_once(['=', ',', ' ', '\t']) {
            Some((address, value)) => weights.note(address.trim_end_matches([' ', '=']), value),
            None => weights.problems.push(format!("\"{}\" is no address = weight", short(line))),
        }
    }
    Ok(weights)
}

impl Weights {
    fn note(&mut self, address: &str, value: &str) {
        match (Found::parse(address.trim()), value.trim().parse::<u16>()) {
            (Ok(found), Ok(weight)) => drop(self.of.insert(found.address, weight)),
            (Err(why), _) => {
                self.problems.push(format!("\"{}\" is no address: {why}", short(address)));
            }
            (_, Err(_)) => {
                let (address, value) = (short(address), short(value));
                self.problems
                    .push(format!("weight \"{value}\" of {address} is no number to 65535"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weights_are_a_json_object_or_lines() {
        let address = |text| Found::parse(text).expect("an address").address;
        let json = weights(br#"{"10.0.0.1:80": 20, "[::1]:81": "7", "10.0.0.2:80": 0}"#);
        let lines = weights(b"# hand-made\n10.0.0.1:80 = 20\n[::1]:81,7\n10.0.0.2:80 0\n");
        assert_eq!(json, lines);
        let of = json.expect("weights").of;
        assert_eq!((of.len(), of[&address("10.0.0.1:80")], of[&address("[::1]:81")]), (3, 20, 7));
        assert_eq!(weights(b""), Ok(Weights::default()));
    }

    #[test]
    fn what_is_wrong_costs_its_own_line_alone() {
        let some = weights(b"10.0.0.1:80=20\nhello\nnowhere=3\n10.0.0.2:80=heavy\n");
        let some = some.expect("the rest");
        assert_eq!((some.of.len(), some.problems.len()), (1, 3), "{:?}", some.problems);
        assert!(weights(b"[1]").is_ok() && weights(b"{").is_err());
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_without_a_panic(content: Vec<u8>, text: String) {
            let _ = (weights(&content), weights(text.as_bytes()));
        }
    }
}
