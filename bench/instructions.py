"""Counts user instructions a request, of the real binaries, under valgrind.

Each server runs twice, for a short and a long series of requests of 1 KiB over 8 kept-alive
connections; the difference leaves start and end out. Counts hardly depend on the machine's load, so
they decide what a feature adds.
"""

import pathlib
import re
import shutil
import subprocess
import sys

from place import Setup
from process import HOST, ROOT, Trouble, command, pinned
from running import LOAD_CORE, Stage
from servers import Server

CONNECTIONS = 8
SHORT, LONG = 2_000, 12_000
# Fifty times slower than usual is normal here.
LOAD_SECONDS = 300
GROWTHS = ("pick_growth", "route_growth")
GROWTH_SECONDS = 900
NOT_COUNTED = ("go", "caddy")
PLAIN = Setup(single_process=True)
LOGGING = Setup(single_process=True, logging=True)
EVERYTHING = Setup(single_process=True, everything=True)


def of_all(rig: pathlib.Path, servers: list[Server]) -> dict[str, dict[str, int]]:
    """Plain, and with everything on where a server has something to turn on."""
    found: dict[str, dict[str, int]] = {}
    for server in servers:
        if server.name in NOT_COUNTED:
            raise Trouble(f"{server.name}: Go does not run under valgrind")
        found[server.name] = {"instructions": per_request(server, rig, PLAIN)}
        if server.name in ("gatehouse", "nginx", "haproxy"):
            found[server.name]["instructions_everything"] = per_request(server, rig, EVERYTHING)
        said = ", ".join(f"{count:,}" for count in found[server.name].values())
        sys.stderr.write(f"instructions: {server.name} {said}\n")
    return found


def growth() -> dict[str, float]:
    """How many times as much the dearest pick and route cost with many as with few."""
    result = subprocess.run([ROOT / "bench/budgets", *GROWTHS], capture_output=True, text=True,
                            timeout=GROWTH_SECONDS)
    found = {name: re.search(rf"^{name}\s+([\d.]+)", result.stdout, re.MULTILINE)
             for name in GROWTHS}
    if None in found.values():
        raise Trouble(f"bench/budgets measured nothing: {result.stderr.strip()}")
    return {name: float(row.group(1)) for name, row in found.items()}


def per_request(server: Server, rig: pathlib.Path, setup: Setup,
                keep: pathlib.Path | None = None) -> int:
    short, long = (in_all(server, rig, setup, requests, keep) for requests in (SHORT, LONG))
    return round((long - short) / (LONG - SHORT))


def in_all(server: Server, rig: pathlib.Path, setup: Setup, requests: int,
           keep: pathlib.Path | None) -> int:
    """All user instructions of one run with so many requests."""
    with Stage(rig) as stage:
        counted = stage.folder / "counted"
        valgrind = [command("valgrind"), "--tool=callgrind", "--quiet",
                    f"--callgrind-out-file={counted}"]
        running = stage.serve(server, setup, valgrind)
        load = subprocess.run(
            pinned(LOAD_CORE, [rig, "load", "--to", f"{HOST}:{running.port}", "--answer-bytes",
                               1024, "--connections", CONNECTIONS, "--requests", requests]),
            capture_output=True, timeout=LOAD_SECONDS)
        if load.returncode != 0:
            why = load.stderr.decode(errors="replace").strip()
            raise Trouble(f"{server.name}: {why}; it said: {running.process.said()[-2000:].strip()}")
        running.process.stop()
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(counted, keep / f"{server.name}-{requests}.callgrind")
        found = re.search(r"^(?:summary|totals):\s*(\d+)", counted.read_text(), re.MULTILINE)
        if not found:
            raise Trouble(f"{server.name}: valgrind counted nothing")
        return int(found.group(1))
