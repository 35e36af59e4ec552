"""What the trials of surviving have in common: origins that can be told to fail, a paced load, one
table and one file of results.

The load is `rig pace`, which is what `gatehouse bench --rate` runs: requests at fixed times, each
timed from when it was due, whatever became of those before it.
"""

import datetime
import json
import pathlib
import sys
import threading
import time
import urllib.request

import machine
from loads import Generator
from process import HOST, ROOT, Process, Trouble, free_port
from running import LOAD_CORE, Stage


class Origin:
    """One of `rig`'s, whose temper is changed while it runs."""

    def __init__(self, stage: Stage, *temper: object):
        self.stage = stage
        self.port = free_port()
        self.line = [stage.rig, "origin", "--listen", f"{HOST}:{self.port}", *temper]
        self.process = self.begin()

    def begin(self) -> Process:
        log = self.stage.folder / f"origin-{self.port}.log"
        return self.stage.start(self.line, LOAD_CORE, log, self.port, {})

    def temper(self, text: str) -> None:
        """`STATUS/MS/SLOTS`, as `rig origin` has it."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/temper/{text}", timeout=5) as said:
            if said.status != 200:
                raise Trouble(f"the origin at {self.port} did not change its temper")

    def kill(self) -> None:
        self.process.child.kill()
        self.process.child.wait()

    def revive(self) -> None:
        self.process = self.begin()


def paced(generator: Generator, port: int, rate: int, connections: int, seconds: float,
          path: str = "/bytes/1024", timeout_ms: int = 2000) -> dict:
    """What clients see of so many requests a second; times in milliseconds."""
    line = generator.line("pace", "--to", f"{HOST}:{port}", "--path", path, "--rate", rate,
                          "--connections", connections, "--timeout", timeout_ms,
                          "--milliseconds", round(seconds * 1000))
    return figures(generator, line, seconds)


def figures(generator: Generator, line: list[str], seconds: float) -> dict:
    found = generator.run(line, seconds)
    errors = found["errors"]
    failed = sum(errors.values()) + found["unsent"]
    asked = found["answered"] - errors["status"] + failed
    times = {key: found[key] / 1e3
             for key in ("p50", "p99", "p999", "max", "served_p50", "served_p99", "served_max")}
    return {"asked": asked, "served": found["served"], "failed": failed,
            "broken": errors["broken"] + errors["malformed"], "status": errors["status"],
            "unsent": found["unsent"], "seconds": found["seconds"],
            "own_cpu_share": found["own_cpu_share"]} | times


def while_(act, after: float):
    """Does something while a load runs, so many seconds after it has begun."""
    failed = []

    def run():
        time.sleep(after)
        try:
            act()
        except Exception as error:  # noqa: BLE001 (told by whoever waits)
            failed.append(error)
    thread = threading.Thread(target=run)
    thread.start()

    def wait():
        thread.join()
        if failed:
            raise Trouble(f"in the middle of a load: {failed[0]}")
    return wait


def pause(seconds: float) -> None:
    """Lets time pass in which nobody asks for anything."""
    time.sleep(seconds)


def share(found: dict) -> str:
    return f"{100 * found['failed'] / max(found['asked'], 1):.2f} %"


def keep(name: str, binary: str | None, versions: dict[str, str], result: dict,
         full: bool) -> pathlib.Path:
    """Leaves the figures beside those of benchmarks, of which no page is made."""
    begin = datetime.datetime.now().astimezone()
    folder = ROOT / "bench/results" / ("trials" if full else "tmp")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{begin.date().isoformat()}-{name}.json"
    whole = {"trial": name, "date": begin.isoformat(timespec="seconds"),
             "commit": "unknown" if binary else machine.commit(),
             "machine": machine.machine(), "versions": versions} | result
    path.write_text(json.dumps(whole, indent=1) + "\n")
    sys.stderr.write(f"{path.relative_to(ROOT)}\n")
    return path
