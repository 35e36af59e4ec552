//! Which answer a path asks for.

use std::time::Duration;

use super::temper::Temper;

/// What to answer, with what the path says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Name,
    Echo,
    Bytes(u64),
    Chunked(u64),
    Trailers(u64),
    UntilClose(u64),
    Checksum(u64),
    /// The length of the upload and its checksum.
    Sink,
    /// The length of the upload only.
    Drain,
    Early,
    /// After so many milliseconds.
    Slow(u64),
    Delay(Delay),
    Stall(Stall),
    Status(u16),
    Temper(Temper),
    Close,
    Truncate(u64),
    Reset,
}

/// Two delays, the slow one at known places: a distribution whose percentiles are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay {
    /// In milliseconds.
    pub usual: u64,
    /// In milliseconds.
    pub slow: u64,
    /// Every so many requests of the origin, one is slow.
    pub every: u64,
}

/// One pause of the whole origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stall {
    /// Its length in milliseconds.
    pub pause: u64,
    /// The request of the origin, counted from 1, at which it begins.
    pub at: u64,
}

/// Reads a path. One that asks for nothing in particular asks for the name.
pub(super) fn parse(path: &str) -> Asked {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (word, argument) = path.split_once('/').unwrap_or((path, ""));
    let number = || argument.parse::<u64>().ok();
    let asked = match word {
        "echo" => Some(Asked::Echo),
        // What follows the number only tells routes apart.
        "bytes" => argument.split('/').next().and_then(|n| n.parse().ok()).map(Asked::Bytes),
        "chunked" => number().map(Asked::Chunked),
        "trailers" => number().map(Asked::Trailers),
        "until-close" => number().map(Asked::UntilClose),
        "checksum" => number().map(Asked::Checksum),
        "sink" => Some(Asked::Sink),
        "drain" => Some(Asked::Drain),
        "early" => Some(Asked::Early),
        "slow" => number().map(Asked::Slow),
        "delay" => numbers(argument)
            .filter(|&[_, _, every]| every > 0)
            .map(|[usual, slow, every]| Asked::Delay(Delay { usual, slow, every })),
        "stall" => numbers(argument).map(|[pause, at]| Asked::Stall(Stall { pause, at })),
        "status" => {
            argument.parse().ok().filter(|status| (100..=999).contains(status)).map(Asked::Status)
        }
        "temper" => numbers(argument).and_then(temper).map(Asked::Temper),
        "close" => Some(Asked::Close),
        "truncate" => number().map(Asked::Truncate),
        "reset" => Some(Asked::Reset),
        _ => None,
    };
    asked.unwrap_or(Asked::Name)
}

/// A status that is no other is the one that was asked for.
fn temper([status, work, slots]: [u64; 3]) -> Option<Temper> {
    let status = match u16::try_from(status).ok()? {
        0 => None,
        status if (200..=999).contains(&status) => Some(status),
        _ => return None,
    };
    let slots = u32::try_from(slots).ok()?;
    let work = Duration::from_millis(work);
    Some(Temper { status, work, slots, ..Temper::default() })
}

/// Exactly so many numbers between slashes.
fn numbers<const N: usize>(text: &str) -> Option<[u64; N]> {
    let numbers: Result<Vec<u64>, _> = text.split('/').map(str::parse).collect();
    numbers.ok()?.try_into().ok()
}

/// The reason phrase, where there is a usual one.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_it_asks_for() {
        assert_eq!(parse("/bytes/1024"), Asked::Bytes(1024));
        assert_eq!(parse("/bytes/1024/r7"), Asked::Bytes(1024));
        assert_eq!(parse("/status/503"), Asked::Status(503));
        assert_eq!(parse("/echo/any/thing"), Asked::Echo);
        assert_eq!(parse("/sink"), Asked::Sink);
        let delay = Delay { usual: 2, slow: 30, every: 10 };
        assert_eq!(parse("/delay/2/30/10"), Asked::Delay(delay));
        assert_eq!(parse("/stall/500/7"), Asked::Stall(Stall { pause: 500, at: 7 }));
        let temper = Temper {
            status: Some(500),
            work: Duration::from_millis(2),
            slots: 3,
            ..Temper::default()
        };
        assert_eq!(parse("/temper/500/2/3"), Asked::Temper(temper));
        assert_eq!(parse("/temper/0/0/0"), Asked::Temper(Temper::default()));
    }

    #[test]
    fn a_path_that_asks_for_nothing_known_asks_for_the_name() {
        for path in [
            "/",
            "",
            "/bytes/",
            "/bytes/-1",
            "/status/42",
            "/status/70000",
            "*",
            "/delay/1/2",
            "/delay/1/2/0",
            "/temper/100/0/0",
        ] {
            assert_eq!(parse(path), Asked::Name, "{path:?}");
        }
    }
}
