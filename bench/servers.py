"""The servers that are compared: how each is configured and started.

All do the same work: HTTP/1.1 kept alive on both sides, one worker, X-Forwarded-For added, no log
unless a workload asks for it, and room to keep an idle upstream connection for each client.
"""

import dataclasses
import functools
import os
import pathlib
import re
import shlex
import signal
import subprocess
from collections.abc import Callable

import gatehouse
import haproxy
import nginx
from machine import machine  # noqa: F401 (part of what this module offers)
from process import (HOST, ROOT, Process, Trouble, command, end_on_signals,  # noqa: F401
                     free_port, text_of)
from place import Place, Setup

BUILD_SECONDS = 1800


@dataclasses.dataclass(frozen=True)
class Server:
    """A kind of server: its name, its version, and its command line, configuration written."""

    name: str
    version: str
    line: Callable[[Place, Setup], list[str]]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    # What makes it take its configuration anew; none where it cannot.
    reload_signal: int | None = None
    binary: pathlib.Path | None = None


def target() -> pathlib.Path:
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()


@functools.cache
def built() -> pathlib.Path:
    """The folder with our binaries as they are shipped, built if need be. Both at once, as `./test`
    does: one by itself asks its crates for other features, and all of them are built again."""
    line = ["cargo", "build", "--quiet", "--profile", "dist", "-p", "gatehouse", "-p",
            "gatehouse-rig"]
    subprocess.run(line, cwd=ROOT, check=True, timeout=BUILD_SECONDS)
    return target() / "dist"


def rig_binary() -> pathlib.Path:
    return built() / "rig"


def gatehouse_binary(given: str | None) -> pathlib.Path:
    """The binary to measure: the one given, or the one that is shipped."""
    binary = pathlib.Path(given) if given else built() / "gatehouse"
    if not binary.exists():
        raise Trouble(f"{binary}: no such file")
    return binary.resolve()


def make_relay(rig: pathlib.Path) -> Server:
    def line(place: Place, _setup: Setup) -> list[str]:
        return [str(rig), "relay", "--listen", f"{HOST}:{place.port}",
                "--to", f"{HOST}:{place.origin}"]
    return Server("relay", "rig", line)


def make_nginx() -> Server:
    binary = command("nginx")
    version = text_of(binary, "-v").strip().rpartition("/")[2]

    def line(place: Place, setup: Setup) -> list[str]:
        config = place.write("nginx.conf", nginx.config(place, setup))
        # Messages of before the configuration is read would go to a log of the system's.
        return [binary, "-p", str(place.folder), "-e", "stderr", "-c", config]
    return Server("nginx", version, line, reload_signal=signal.SIGHUP)


def make_haproxy() -> Server:
    binary = command("haproxy")
    version = re.search(r"version (\S+)", text_of(binary, "-v")).group(1)

    def line(place: Place, setup: Setup) -> list[str]:
        config = place.write("haproxy.cfg", haproxy.config(place, setup))
        # A master that starts a new worker, as it is run where it is reloaded.
        master = ["-W"] if setup.reloads else []
        return [binary, "-db", *master, "-f", config]
    return Server("haproxy", version, line, reload_signal=signal.SIGUSR2)


def make_gatehouse(binary: pathlib.Path) -> Server:
    version = text_of(str(binary), "--version").strip().rpartition(" ")[2] or "unknown"

    def line(place: Place, setup: Setup) -> list[str]:
        text = gatehouse.config(binary, place, setup)
        return [str(binary), "run", "-c", place.write(gatehouse.FILE, text)]
    return Server("gatehouse", version, line, reload_signal=signal.SIGHUP, binary=binary)


def make_caddy() -> Server:
    binary = command("caddy")
    version = text_of(binary, "version").split()[0].removeprefix("v")

    def line(place: Place, _setup: Setup) -> list[str]:
        config = place.write("Caddyfile", CADDY.format(host=HOST, port=place.port,
                                                       origin=place.origin))
        return [binary, "run", "--adapter", "caddyfile", "--config", config]
    return Server("caddy", version, line, {"GOMAXPROCS": "1"})


# It sets X-Forwarded-For by itself.
CADDY = """
{{
  admin off
  auto_https off
  log {{
    level ERROR
  }}
  servers {{
    protocols h1
  }}
}}
http://{host}:{port} {{
  bind {host}
  reverse_proxy {host}:{origin} {{
    transport http {{
      keepalive 60s
      keepalive_idle_conns 2048
      keepalive_idle_conns_per_host 2048
      compression off
    }}
  }}
}}
"""


def make_go(binary: pathlib.Path, version: str) -> Server:
    def line(place: Place, _setup: Setup) -> list[str]:
        return [str(binary), f"{HOST}:{place.port}", f"{HOST}:{place.origin}"]
    return Server("go", version, line, {"GOMAXPROCS": "1"})


def make_pingora(binary: pathlib.Path, version: str) -> Server:
    def line(place: Place, _setup: Setup) -> list[str]:
        return [str(binary), f"{HOST}:{place.port}", f"{HOST}:{place.origin}"]
    return Server("pingora", version, line)


def make_other(name: str, words: str) -> Server:
    """Any other server, by its command line with `{host}`, `{port}` and `{origin}`."""
    def line(place: Place, _setup: Setup) -> list[str]:
        values = {"host": HOST, "port": place.port, "origin": place.origin}
        return [word.format(**values) for word in shlex.split(words)]
    return Server(name, "as given", line)
