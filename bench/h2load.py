"""Load over TLS by nghttp2's h2load, in HTTP/1.1 or HTTP/2."""

import pathlib
import re
import subprocess

from process import HOST, Trouble, command
from workloads import Workload

# Where it leaves what each request took.
TIMES = "times"


def line(workload: Workload, port: int, count: int, times: pathlib.Path) -> list[object]:
    version = [] if workload.setup.http2 else ["--h1"]
    return [command("h2load"), *version, "--requests", count, "--clients", workload.connections,
            "--max-concurrent-streams", workload.streams, "--log-file", times,
            f"https://{HOST}:{port}{workload.path}"]


def run(line: list[str], times: pathlib.Path, body_bytes: int, seconds: float) -> dict:
    """What `rig load` says of a run, of this one. `body_bytes` is what all answers must have."""
    times.unlink(missing_ok=True)
    try:
        result = subprocess.run(line, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as expired:
        raise Trouble(f"h2load did not end: {expired}") from expired
    if result.returncode != 0:
        raise Trouble(f"h2load ended with {result.returncode}: {result.stderr.strip()}")
    took, rows = read(times)
    return said(result.stdout, body_bytes) | {"seconds": took} | shares(rows)


def said(text: str, body_bytes: int) -> dict:
    total, succeeded = (int(number) for number in re.search(
        r"requests: (\d+) total, .* (\d+) succeeded", text).groups())
    good = int(re.search(r"status codes: (\d+) 2xx", text).group(1))
    data = int(re.search(r"\((\d+)\) data", text).group(1))
    errors = {"broken": total - succeeded, "status": succeeded - good,
              "length": int(good == total and data != body_bytes)}
    return {"answered": good, "errors": errors}


def read(times: pathlib.Path) -> tuple[float, list[int]]:
    """Seconds from the first request to the last answer, and the microseconds of each, sorted."""
    starts, rows, ends = [], [], []
    for text in times.read_text().splitlines():
        start, _status, micros = (int(word) for word in text.split("\t"))
        starts.append(start)
        rows.append(micros)
        ends.append(start + micros)
    if not rows:
        raise Trouble("h2load left no times")
    return (max(ends) - min(starts)) / 1e6, sorted(rows)


def shares(rows: list[int]) -> dict:
    def at(share: float) -> int:
        return rows[min(int(len(rows) * share), len(rows) - 1)]
    return {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999)}
