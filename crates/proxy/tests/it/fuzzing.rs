//! A hostile client beside an honest one, in front of an origin that reads leniently: whatever the
//! hostile one sends, the honest one gets its own answers, and the origin sees as many requests as
//! the gateway sent.
//!
//! Runs for two seconds; `GATEHOUSE_FUZZ_SECONDS` runs longer, `GATEHOUSE_FUZZ_SEED` repeats a run.

use crate::bench::{Setup, with};
use crate::talk::{SOON, Talk, get, ok, pass};
use gatehouse_core::chance::Chance;
use gatehouse_proxy::gate::memory::spawn;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Whole requests and bent ones, with a request hidden where a body could be.
const PIECES: [&str; 22] = [
    "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /evil HTTP/1.1\nHost: a\n\n",
    "POST /evil HTTP/1.1\r\nHost: a\r\n",
    "POST /evil HTTP/1.0\r\nConnection: keep-alive\r\n",
    "Content-Length: 37\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 5\r\n",
    "Content-Length : 5\r\n",
    "content_length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\u{b}chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "X: y\nTransfer-Encoding: chunked\r\n",
    "Connection: Transfer-Encoding, Content-Length\r\n",
    "Expect: 100-continue\r\n",
    "Connection: upgrade\r\nUpgrade: websocket\r\n",
    "\r\n",
    "\n",
    SMUGGLED,
    "25\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
    "5;x\r\nhello\r\n",
    "0\r\n\r\n",
];

/// A head as a lenient server finds it: lines end in LF, names may be padded.
async fn hear_leniently(at_origin: &mut Talk) -> Option<(String, String)> {
    let mut head = String::new();
    loop {
        let line = at_origin.hear_line().await?;
        if line.trim().is_empty() {
            if head.is_empty() {
                continue;
            }
            break;
        }
        head += &line;
    }
    let lower = head.to_ascii_lowercase().replace('_', "-");
    let mut body = String::new();
    if lower.contains("transfer-encoding") {
        loop {
            let line = at_origin.hear_line().await?;
            let digits: String = line.chars().take_while(char::is_ascii_hexdigit).collect();
            let size = usize::from_str_radix(&digits, 16).unwrap_or(0);
            if size == 0 {
                while !at_origin.hear_line().await?.trim().is_empty() {}
                return Some((head, body));
            }
            body += &at_origin.hear_some(size).await?;
            at_origin.hear_line().await?;
        }
    }
    let length = lower.split("content-length").nth(1).map(|rest| {
        let digits = rest.trim_start_matches([' ', ':', '\t']).chars();
        digits.take_while(char::is_ascii_digit).collect::<String>()
    });
    let length = length.and_then(|digits| digits.parse().ok()).unwrap_or(0);
    Some((head, at_origin.hear_some(length).await?))
}

fn one_round(seed: u64) {
    let asked = Rc::new(Cell::new(0_usize));
    let mut chance = Chance::seeded(seed);
    with(Setup::default(), async |bench| {
        let mut origin = bench.origin(1);
        let count = Rc::clone(&asked);
        let mood = chance.below(3);
        spawn(async move {
            while let Some(mut at_origin) = origin.accept_soon(Duration::from_secs(30)).await {
                let count = Rc::clone(&count);
                spawn(async move {
                    while let Some((head, _)) = hear_leniently(&mut at_origin).await {
                        count.set(count.get() + 1);
                        let path = head.split(' ').nth(1).unwrap_or("").to_owned();
                        if mood == 1 {
                            pass(SOON).await;
                        }
                        if !at_origin.try_say(ok(&path).as_bytes()).await {
                            break;
                        }
                    }
                });
            }
        });
        let (mut honest, mut hostile) = (bench.client(), bench.client());
        for round in 0..4 {
            let mut text = String::new();
            for _ in 0..1 + chance.below(7) {
                text += PIECES[chance.below(PIECES.len() as u32) as usize];
            }
            let cut = chance.below(text.len() as u32 + 1) as usize;
            let cut = (0..=cut).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let taken = hostile.try_say(&text.as_bytes()[..cut]).await;
            if chance.below(2) == 0 {
                pass(SOON).await;
            }
            if !taken || !hostile.try_say(&text.as_bytes()[cut..]).await {
                hostile = bench.client();
            }
            let path = format!("/honest/{round}");
            honest.say(get(&path)).await;
            assert_eq!(honest.hear_message().await.1, path, "seed {seed}");
        }
        drop((honest, hostile));
        pass(Duration::from_secs(3)).await;
        let log = bench.log();
        let sent = log.lines().filter(|line| line.contains("\"attempts\":")).count();
        let seen = asked.get();
        assert!(seen <= sent, "seed {seed}: {seen} requests seen, {sent} sent\n{log}");
    });
}

#[test]
fn whatever_one_client_sends_another_gets_its_own_answers() {
    let number = |key: &str| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let wait = Duration::from_secs(number("GATEHOUSE_FUZZ_SECONDS").unwrap_or(2));
    let first = number("GATEHOUSE_FUZZ_SEED").unwrap_or(1);
    let clock = Instant::now();
    let mut seed = first;
    while seed == first || clock.elapsed() < wait {
        eprintln!("GATEHOUSE_FUZZ_SEED={seed}");
        one_round(seed);
        seed += 1;
    }
    assert!(seed - first >= 20, "{} rounds prove nothing", seed - first);
}
