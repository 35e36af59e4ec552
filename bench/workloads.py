"""What is measured, and what it is held to."""

import dataclasses

from place import Setup

KIB = 1024
FOUR = ("relay", "gatehouse", "nginx", "haproxy")
SERVERS = ("gatehouse", "nginx", "haproxy")
OTHERS = ("pingora", "go", "caddy")


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    title: str
    # How it is measured: load, idle, pace, reload, instructions or growth.
    kind: str = "load"
    path: str = f"/bytes/{KIB}"
    # Bytes of an answer's body; every answer is held to it.
    answer_bytes: int | None = KIB
    connections: int = 64
    upload_bytes: int = 0
    # A connection for each request.
    closes: bool = False
    # Requests carry the fields of FIELDS.
    fields: bool = False
    setup: Setup = Setup()
    # In every round, and in a few rounds only.
    peers: tuple[str, ...] = FOUR
    few: tuple[str, ...] = ()
    rounds: int = 7
    # Of one round, whatever is usual.
    seconds: float | None = None
    # Requests of h2load at a time on each connection, and in all for each second of a round.
    streams: int = 1
    a_second: int = 25_000
    # How many requests are looked at for system calls.
    traced: int = 4000


# In how many rounds those are that no target names.
FEW_ROUNDS = 3
# Fewer where the limit on open files is not enough for them.
IDLE = 15_000
HOSTS, ROUTES = 10_000, 10
SLOW_MS = 50

WORKLOADS = {workload.name: workload for workload in [
    Workload("1KiB-64", "1 KiB answers, 64 connections",
             peers=FOUR + ("pingora", "go"), few=("caddy",)),
    Workload("1KiB-1024", "1 KiB answers, 1,024 connections", connections=1024, few=OTHERS),
    Workload("everything", "Everything on, 1 KiB answers, 64 connections",
             setup=Setup(everything=True)),
    Workload("64KiB", "64 KiB answers, 64 connections", path=f"/bytes/{64 * KIB}",
             answer_bytes=64 * KIB, setup=Setup(streams=True)),
    Workload("1MiB", "1 MiB answers, 64 connections", path=f"/bytes/{KIB * KIB}",
             answer_bytes=KIB * KIB, setup=Setup(streams=True), traced=500),
    Workload("close", "One connection a request, 1 KiB answers, 64 at once", closes=True),
    Workload("upload-1KiB", "Uploads of 1 KiB, 64 connections", path="/drain", answer_bytes=None,
             upload_bytes=KIB, rounds=5),
    Workload("upload-64KiB", "Uploads of 64 KiB, 64 connections", path="/drain",
             answer_bytes=None, upload_bytes=64 * KIB, setup=Setup(streams=True), rounds=5),
    Workload("upload-1MiB", "Uploads of 1 MiB, 64 connections", path="/drain",
             answer_bytes=None, upload_bytes=KIB * KIB, setup=Setup(streams=True), rounds=5,
             traced=500),
    Workload("fields", "30 request fields, 1 KiB answers, 64 connections", fields=True, rounds=5),
    Workload("hosts", f"{HOSTS:,} hosts of {ROUTES} routes, 1 KiB answers, 64 connections",
             setup=Setup(hosts=HOSTS, routes=ROUTES), peers=SERVERS, rounds=5),
    Workload("tls", "HTTP/1.1 over TLS, 1 KiB answers, 64 connections", setup=Setup(tls=True),
             peers=SERVERS, rounds=5),
    Workload("h2", "HTTP/2 over TLS, 1 KiB answers, 16 connections of 32 streams", connections=16,
             streams=32, setup=Setup(tls=True, http2=True), peers=SERVERS),
    Workload("tcp", "Carried as bytes (TCP), 1 KiB answers, 64 connections",
             setup=Setup(tcp=True), rounds=5),
    Workload("idle", "Idle connections, each after one request", kind="idle",
             setup=Setup(idle=IDLE), peers=SERVERS, few=OTHERS),
    Workload("slow", f"An origin that takes {SLOW_MS} ms, at half load", kind="pace",
             path=f"/slow/{SLOW_MS}", answer_bytes=None, seconds=3),
    Workload("reload", "A reload during load, 1 KiB answers, 64 connections", kind="reload",
             setup=Setup(reloads=True), peers=SERVERS, rounds=5, seconds=3),
    Workload("instructions", "User instructions a request, 1 KiB answers",
             kind="instructions", peers=FOUR + ("pingora",), rounds=1),
    Workload("growth", "Picks and routes, by their number", kind="growth", peers=("gatehouse",),
             rounds=1),
]}


@dataclasses.dataclass(frozen=True)
class Target:
    """At most `limit`: times the best of `others`, or where there are none in its own unit."""

    workload: str
    figure: str
    limit: float
    others: tuple[str, ...] = ()
    aim: float | None = None
    whose: str = "gatehouse"


TARGETS = [
    Target("1KiB-64", "cpu_us", 1.25, ("relay",), 1.15),
    Target("1KiB-64", "cpu_us", 0.90, ("haproxy",), 0.80),
    Target("1KiB-64", "cpu_us", 0.90, ("nginx",), 0.80),
    Target("1KiB-64", "cpu_us", 0.30, ("go",)),
    Target("1KiB-64", "cpu_us", 0.50, ("pingora",)),
    Target("1KiB-1024", "cpu_us", 1.25, ("relay",)),
    Target("1KiB-1024", "cpu_us", 0.75, ("haproxy", "nginx")),
    Target("everything", "cpu_us", 1.50, ("relay",)),
    Target("everything", "cpu_us", 1.00, ("haproxy", "nginx")),
    Target("64KiB", "cpu_us", 0.95, ("haproxy", "nginx")),
    Target("1MiB", "cpu_us", 0.80, ("haproxy", "nginx")),
    Target("close", "cpu_us", 1.00, ("haproxy", "nginx")),
    Target("h2", "cpu_us", 1.00, ("nginx",)),
    Target("h2", "cpu_us", 1.10, ("haproxy",)),
    Target("idle", "idle_bytes", 1200, aim=600),
    Target("slow", "added_p99", 1.10, ("haproxy", "nginx")),
    Target("instructions", "instructions", 10_000),
    Target("instructions", "instructions_everything", 16_000),
    Target("growth", "pick_growth", 3.0),
    Target("growth", "route_growth", 2.0),
]

# What a browser behind a login sends: with Host and the length of an upload 30 and more.
FIELDS = """\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8
Accept-Language: en-GB,en;q=0.9,de-DE;q=0.8,de;q=0.7,fr;q=0.6
Accept-Encoding: gzip, deflate, br, zstd
Referer: https://shop.example.test/catalogue/shoes?colour=blue&size=42&page=3&sort=price-ascending
Origin: https://shop.example.test
Cache-Control: no-cache
Pragma: no-cache
Priority: u=0, i
DNT: 1
Sec-CH-UA: "Chromium";v="141", "Not?A_Brand";v="24", "Google Chrome";v="141"
Sec-CH-UA-Mobile: ?0
Sec-CH-UA-Platform: "Linux"
Sec-CH-UA-Full-Version: "141.0.7390.54"
Sec-CH-Prefers-Color-Scheme: dark
Sec-Fetch-Dest: document
Sec-Fetch-Mode: navigate
Sec-Fetch-Site: same-origin
Sec-Fetch-User: ?1
Upgrade-Insecure-Requests: 1
If-None-Match: W/"5d8c72a5edda8d6a5e2f1c0b9a887766"
If-Modified-Since: Tue, 17 Nov 2026 08:12:31 GMT
X-Requested-With: XMLHttpRequest
X-Request-Id: 0a7f4d2e-5b1c-4e8f-9d3a-6c2b8e1f7a90
X-CSRF-Token: kq8Zb1vY3xW0uT5sR9pO2nM6lK4jI7hG8fE1dC3bA5zY
Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
Tracestate: vendor=00f067aa0ba902b7,other=t61rcWkgMzE
Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6Ik\
phbmUgRG9lIiwic2NvcGUiOiJyZWFkIHdyaXRlIiwiaWF0IjoxNzYzMzc4MDAwfQ.c2lnbmF0dXJlLW9mLW5vYm9keS1hdC1hbGw
Cookie: session=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08; theme=dark; \
consent=necessary%2Canalytics; cart=3f2504e0-4f89-11d3-9a0c-0305e82c3301; locale=en-GB; \
experiment=checkout-b%3Asearch-a%3Aprice-c; last-seen=2026-11-17T08%3A12%3A31Z; _ga=GA1.2.1234567890
"""
