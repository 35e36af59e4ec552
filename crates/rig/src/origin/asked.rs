//! Which answer a path asks for.

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
    Status(u16),
    Close,
    Truncate(u64),
    Reset,
}

/// Reads a path. One that asks for nothing in particular asks for the name.
pub(super) fn parse(path: &str) -> Asked {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (word, argument) = path.split_once('/').unwrap_or((path, ""));
    let number = || argument.parse::<u64>().ok();
    let asked = match word {
        "echo" => Some(Asked::Echo),
        "bytes" => number().map(Asked::Bytes),
        "chunked" => number().map(Asked::Chunked),
        "trailers" => number().map(Asked::Trailers),
        "until-close" => number().map(Asked::UntilClose),
        "checksum" => number().map(Asked::Checksum),
        "sink" => Some(Asked::Sink),
        "drain" => Some(Asked::Drain),
        "early" => Some(Asked::Early),
        "slow" => number().map(Asked::Slow),
        "status" => {
            argument.parse().ok().filter(|status| (100..=999).contains(status)).map(Asked::Status)
        }
        "close" => Some(Asked::Close),
        "truncate" => number().map(Asked::Truncate),
        "reset" => Some(Asked::Reset),
        _ => None,
    };
    asked.unwrap_or(Asked::Name)
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
        assert_eq!(parse("/status/503"), Asked::Status(503));
        assert_eq!(parse("/echo/any/thing"), Asked::Echo);
        assert_eq!(parse("/sink"), Asked::Sink);
    }

    #[test]
    fn a_path_that_asks_for_nothing_known_asks_for_the_name() {
        for path in ["/", "", "/bytes/", "/bytes/-1", "/status/42", "/status/70000", "*"] {
            assert_eq!(parse(path), Asked::Name, "{path:?}");
        }
    }
}
