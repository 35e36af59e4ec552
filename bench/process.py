"""Programs that are started, watched and ended here.

Only what was started here is ever signalled, by its id, and all of it is gone at the end: a program
whose starter dies is told to end by the kernel.
"""

import dataclasses
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_SECONDS = 20
STOP_SECONDS = 10
TICKS = os.sysconf("SC_CLK_TCK")


class Trouble(Exception):
    """Something that a person must mend; its text says what."""


def command(name: str) -> str:
    """Where a program is; servers live where an ordinary PATH does not look."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    if not found:
        raise Trouble(f"{name} is not installed: run .ci/setup --peers")
    return found


def text_of(*arguments: str) -> str:
    result = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    return result.stdout.decode(errors="replace")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def pinned(core: int, arguments: Sequence[object]) -> list[str]:
    """A command line that runs on one core, and ends when its starter does."""
    return [command("setpriv"), "--pdeathsig", "TERM", command("taskset"), "-c", str(core),
            *map(str, arguments)]


@dataclasses.dataclass(frozen=True)
class Processor:
    """Seconds of processor time: the sum exactly, its parts in whole ticks of the kernel's clock."""

    whole: float
    user: float
    system: float

    def since(self, before: "Processor") -> tuple[float, float]:
        """User and system time since then; the ticks only say how the exact sum splits."""
        whole = self.whole - before.whole
        user, system = self.user - before.user, self.system - before.system
        share = user / (user + system) if user + system > 0 else 0.0
        return whole * share, whole * (1 - share)


class Process:
    """One started program, with the processes it starts itself."""

    def __init__(self, arguments: Sequence[object], core: int, log: pathlib.Path,
                 environment: dict[str, str] | None = None):
        self.log = pathlib.Path(log)
        self.port: int | None = None
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                pinned(core, arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=os.environ | (environment or {}))

    def wait_for_port(self, port: int, seconds: float = START_SECONDS) -> None:
        self.port = port
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.child.poll() is not None:
                break
            try:
                socket.create_connection((HOST, port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        said = self.said()[-2000:].strip()
        raise Trouble(f"port {port} was not opened (limit {seconds} s); it said: {said}")

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def pids(self) -> list[int]:
        """The process and its children, which is as deep as servers go here."""
        pid = self.child.pid
        pids = [pid]
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            pids += [int(child) for child in task.read_text().split()]
        return pids

    def processor(self) -> "Processor":
        """Processor time of all its processes so far."""
        whole = user = system = 0.0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user += int(fields[11]) / TICKS
            system += int(fields[12]) / TICKS
            # The clock of a whole process: its number is made of the id (clock_getcpuclockid(3)).
            whole += time.clock_gettime(~pid << 3 | 2)
        return Processor(whole, user, system)

    def resident_bytes(self) -> int:
        total = 0
        for pid in self.pids():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            found = re.search(r"VmRSS:\s+(\d+) kB", status)
            total += int(found.group(1)) * 1024 if found else 0
        return total

    def signal(self, number: int) -> None:
        if self.child.poll() is None:
            self.child.send_signal(number)

    def stop(self) -> None:
        self.signal(signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end:
            try:
                self.child.wait(1)
                return
            except subprocess.TimeoutExpired:
                self.knock()
        self.child.kill()
        self.child.wait()

    def knock(self) -> None:
        """Wakes a server that waits for events and has missed its signal, as nginx may."""
        try:
            socket.create_connection((HOST, self.port), 1).close()
        except (OSError, TypeError):
            pass


def end_on_signals() -> None:
    """Turns a request to end into an orderly end, with every process stopped."""
    def end(number, _frame):
        sys.exit(128 + number)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
