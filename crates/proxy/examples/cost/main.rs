//! Does one thing so many times, for a profiler to count. Two runs that differ only in how often
//! give the instructions of one, start and end left out; `bench/budgets` holds these to limits.
//!
//! ```text
//! cargo build --release -p gatehouse-proxy --example cost
//! valgrind --tool=callgrind --callgrind-out-file=cost.out cost paths 20000 100000
//! valgrind --tool=callgrind --callgrind-out-file=cost.out cost paths 20000 200000
//! callgrind_annotate cost.out
//! ```

mod decisions;
mod heads;
mod whole;

use gatehouse_proxy::gate::memory::exchange_bytes;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cost WHAT TIMES, where WHAT is
  parse browser|minimal|answer    parses a head
  encode request|answer           encodes a head as the data path has edited it
  paths COUNT                     finds one of so many prefix routes of one host
  hosts COUNT                     finds one of ten routes each of so many hosts
  pick BALANCE COUNT              picks one of so many endpoints
  exchange plain|logging          carries a request and its answer over the in-memory network
or: cost exchange-bytes           prints the size of a running exchange
0 times only build what is needed";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Some(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str]) -> Option<String> {
    if words == ["exchange-bytes"] {
        return Some(exchange_bytes().to_string());
    }
    let (times, what) = words.split_last()?;
    let times = times.parse().ok()?;
    match what {
        ["parse", kind] => heads::parse(kind, times),
        ["encode", kind] => heads::encode(kind, times),
        ["paths", count] => decisions::paths(at_least_one(count)?, times),
        ["hosts", count] => decisions::hosts(at_least_one(count)?, times),
        ["pick", balance, count] => decisions::pick(balance, at_least_one(count)?, times),
        ["exchange", kind] => whole::exchanges(kind, times),
        _ => None,
    }
}

fn at_least_one(count: &str) -> Option<u32> {
    count.parse().ok().filter(|count| *count > 0)
}
