"""The same protection from failing and full endpoints, in the words of each server.

Active checks every second, passive ones after 5 errors, 2 retries on other endpoints, an attempt of
250 ms at most; where there is a cap, requests in flight by endpoint and a queue in front of it.
What a server does not have it goes without: nginx has neither active checks nor a queue. As with the
others, Gatehouse may leave out all endpoints but one; only it bounds retries by a budget.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import servers
from place import Place, Setup
from process import HOST, command, free_port
from servers import Server

CHECK_SECONDS, CHECK_TIMEOUT_MS, FALL = 1, 500, 2
ERRORS, EJECT_SECONDS = 5, 10
RETRIES, TRY_MS = 2, 250
NAMES = ["gatehouse", "haproxy", "nginx"]


@dataclasses.dataclass(frozen=True)
class Rule:
    """The endpoints, by port, and what each may be asked at once."""

    ports: list[int]
    # Requests in flight at an endpoint; 0 is no limit.
    cap: int = 0
    # Requests that may wait for a place, and for how long.
    queue: int = 0
    queue_ms: int = 0
    # Connections of clients, which the bound on memory follows from.
    clients: int = 4000


def made(name: str, rule: Rule, binary: pathlib.Path) -> Server:
    """One of `NAMES`, protected as the rule says."""
    plain = {"gatehouse": lambda: servers.make_gatehouse(binary), "haproxy": servers.make_haproxy,
             "nginx": servers.make_nginx}[name]()
    line: Callable[[Place, Setup], list[str]] = {
        "gatehouse": lambda place, _: [str(binary), "run", "-c",
                                       place.write("gatehouse.toml", gatehouse(place, rule))],
        "haproxy": lambda place, _: [command("haproxy"), "-db", "-f",
                                     place.write("haproxy.cfg", haproxy(place, rule))],
        "nginx": lambda place, _: [command("nginx"), "-p", str(place.folder), "-e", "stderr", "-c",
                                   place.write("nginx.conf", nginx(place, rule))],
    }[name]
    return dataclasses.replace(plain, line=line)


def gatehouse(place: Place, rule: Rule) -> str:
    cap = f", max-connections = {rule.cap}" if rule.cap else ""
    endpoints = ", ".join(f'{{ address = "{HOST}:{port}"{cap} }}' for port in rule.ports)
    queue = f'queue = {{ max = {rule.queue}, timeout = "{rule.queue_ms}ms" }}' if rule.queue else ""
    return f"""
workers = 1
[admin]
bind = "{HOST}:{free_port()}"
[log]
access = {{ format = "off" }}
[listeners.web]
bind = "{HOST}:{place.port}"
limits = {{ connections = {rule.clients} }}
[[routes]]
upstream = "origins"
timeout = {{ connect = "{TRY_MS}ms" }}
[upstreams.origins]
endpoints = [{endpoints}]
{queue}
outlier = {{ consecutive-errors = {ERRORS}, eject-for = "{EJECT_SECONDS}s", max-ejected = "100%" }}
[upstreams.origins.health]
path = "/check"
interval = "{CHECK_SECONDS}s"
timeout = "{CHECK_TIMEOUT_MS}ms"
unhealthy-after = {FALL}
[upstreams.origins.retry]
attempts = {RETRIES}
on = ["connect", "reset", "timeout", "500"]
try-timeout = "{TRY_MS}ms"
"""


def haproxy(place: Place, rule: Rule) -> str:
    cap = f"maxconn {rule.cap}" if rule.cap else ""
    queue = f"maxqueue {rule.queue}" if rule.queue else ""
    lines = "\n  ".join(f"server s{port} {HOST}:{port}" for port in rule.ports)
    return f"""
global
  nbthread 1
  maxconn {rule.clients}
defaults
  mode http
  timeout client 60s
  timeout connect {TRY_MS}ms
  timeout server {TRY_MS}ms
  timeout check {CHECK_TIMEOUT_MS}ms
  timeout queue {rule.queue_ms or TRY_MS}ms
  option forwardfor
  http-reuse always
  retries {RETRIES}
  option redispatch 1
  retry-on conn-failure empty-response response-timeout 500
frontend web
  bind {HOST}:{place.port} backlog 4096
  default_backend origins
backend origins
  balance roundrobin
  option httpchk GET /check
  default-server check inter {CHECK_SECONDS}s fall {FALL} rise 1 observe layer7 \
error-limit {ERRORS} on-error mark-down pool-max-conn 4096 {cap} {queue}
  {lines}
"""


def nginx(place: Place, rule: Rule) -> str:
    folder = place.folder
    cap = f" max_conns={rule.cap}" if rule.cap else ""
    lines = "\n    ".join(
        f"server {HOST}:{port} max_fails={ERRORS} fail_timeout={EJECT_SECONDS}s{cap};"
        for port in rule.ports)
    return f"""
daemon off; master_process on; worker_processes 1; user root; pid {folder}/nginx.pid;
error_log stderr crit; worker_rlimit_nofile 65536;
events {{ worker_connections {2 * rule.clients + 1000}; }}
http {{
  access_log off; server_tokens off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000; keepalive_timeout 60s;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_connect_timeout {TRY_MS}ms; proxy_read_timeout {TRY_MS}ms;
  proxy_next_upstream error timeout http_500; proxy_next_upstream_tries {1 + RETRIES};
  upstream origins {{
    zone origins 256k;
    {lines}
    keepalive 2048; keepalive_requests 1000000000;
  }}
  server {{
    listen {HOST}:{place.port} backlog=4096;
    location / {{ proxy_pass http://origins; }}
  }}
}}
"""
