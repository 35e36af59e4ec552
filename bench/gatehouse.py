"""Gatehouse's configuration, and what of it the measured version has."""

import dataclasses
import functools
import pathlib
import subprocess
import tempfile
from collections.abc import Iterable

from process import HOST, Trouble, free_port
from place import Place, Setup

CHECK_SECONDS = 60
NOT_BUILT = "not in this version"
RELOADED = "reloaded "
FILE = "gatehouse.toml"


@dataclasses.dataclass(frozen=True)
class Feature:
    """A part of `everything` that a version may not have yet."""

    name: str
    route: str = ""
    upstream: str = ""


# Limits that are looked at for every request, and never reached. What a version does not have is
# left out of its configuration, and the results say what was on.
FEATURES = [
    Feature("JSON access log"),
    Feature("metrics"),
    Feature("header edits", route='request-headers = { set = { x-env = "prod" }, '
            'remove = ["x-debug"] }\nresponse-headers = { set = { x-frame-options = "DENY" } }'),
    Feature("retry budget", upstream='retry = { attempts = 2, budget = "20%" }'),
    Feature("rate limit",
            route='limit = { rate = "1000000/s", burst = 100000, by = "client-ip" }'),
    Feature("breaker", upstream='breaker = { max-in-flight = 100000, error-rate = "50%", '
            'open-for = "5s" }'),
]


def config(binary: pathlib.Path, place: Place, setup: Setup) -> str:
    on = features(binary) if setup.everything else []
    # Metrics are always counted; the admin interface is what shows them.
    admin = f'[admin]\nbind = "{HOST}:{free_port()}"' if setup.everything else ""
    return f"""
workers = 1
{admin}
[log]
access = {{ {access(place, setup)} }}

[listeners.web]
bind = "{HOST}:{place.port}"
{listener(place, setup)}

[[routes]]
{'listeners = ["web"]' if setup.tcp else ""}
upstream = "origin"
{lines(feature.route for feature in on)}
{routes(setup)}

[upstreams.origin]
endpoints = ["{HOST}:{place.origin}"]
{"" if setup.tcp else "keepalive = { idle-per-worker = 2048 }"}
{lines(feature.upstream for feature in on)}
"""


def listener(place: Place, setup: Setup) -> str:
    if setup.tcp:
        return 'protocols = ["tcp"]'
    if not setup.tls:
        return ""
    folder = place.certificate()
    protocols = '["h1", "h2"]' if setup.http2 else '["h1"]'
    return f'protocols = {protocols}\n' \
        f'tls = {{ cert = "{folder}/cert.pem", key = "{folder}/key.pem" }}'


def change(place: Place, number: int) -> None:
    """Adds a route to the file, so that a reload has something to do."""
    file = place.folder / FILE
    more = f'\n[[routes]]\npath = "/change-{number}"\nrespond = {{ body = "{number}" }}\n'
    place.write(FILE, file.read_text() + more)


def access(place: Place, setup: Setup) -> str:
    if setup.everything or setup.logging:
        file = place.access_log() if setup.everything else "/dev/null"
        return f'format = "json", to = "{file}"'
    return 'format = "off"'


def lines(texts: Iterable[str]) -> str:
    return "\n".join(text for text in texts if text)


def routes(setup: Setup) -> str:
    return "\n".join(
        f'[[routes]]\nhost = "h{host}.example.test"\npath = "/bytes/1024/r{route}/*"\n'
        'upstream = "origin"'
        for host in range(setup.hosts) for route in range(setup.routes))


@functools.cache
def features(binary: pathlib.Path) -> list[Feature]:
    """What of all features this version has."""
    return [feature for feature in FEATURES if has(binary, feature)]


def has(binary: pathlib.Path, feature: Feature) -> bool:
    text = f"""
[listeners.web]
bind = "{HOST}:0"
[[routes]]
upstream = "origin"
{feature.route}
[upstreams.origin]
endpoints = ["{HOST}:9"]
{feature.upstream}
"""
    with tempfile.TemporaryDirectory(prefix="gatehouse-") as folder:
        file = pathlib.Path(folder) / "gatehouse.toml"
        file.write_text(text)
        result = subprocess.run([str(binary), "check", "-c", str(file)], capture_output=True,
                                text=True, timeout=CHECK_SECONDS)
    said = result.stdout + result.stderr
    if result.returncode == 0 or NOT_BUILT in said:
        return result.returncode == 0
    raise Trouble(f"{feature.name}: gatehouse refuses the configuration of it: {said.strip()}")
