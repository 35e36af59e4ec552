"""What was measured on, and how busy it was."""

import dataclasses
import os
import pathlib
import re
import resource
import subprocess

from process import ROOT

# Descriptors for 15,000 clients, their upstream connections, and whoever needs both.
DESCRIPTORS = 65_536
# What a server keeps apart from clients that wait.
OTHER_CONNECTIONS = 500
# What makes the binary; a change of anything else leaves it as committed.
SOURCES = ["crates", "Cargo.toml", "Cargo.lock"]


def machine() -> dict:
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return {
        "processor": cpu.group(1) if cpu else os.uname().machine,
        "cores": os.cpu_count(),
        "memory_bytes": int(memory.group(1)) * 1024,
        "kernel": f"{os.uname().sysname} {os.uname().release}",
        "load_average": os.getloadavg(),
    }


def commit() -> str:
    """The commit that is measured, with a `+` where its sources were changed since."""
    def git(*arguments):
        result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True,
                                timeout=20)
        return result.stdout.strip() if result.returncode == 0 else ""
    changed = "+" if git("status", "--porcelain", "--", *SOURCES) else ""
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + changed


@dataclasses.dataclass(frozen=True)
class Core:
    """What one core has done so far, in clock ticks."""

    busy: int
    whole: int

    @staticmethod
    def now(number: int) -> "Core":
        line = re.search(rf"^cpu{number} (.*)$", pathlib.Path("/proc/stat").read_text(), re.M)
        ticks = [int(field) for field in line.group(1).split()[:8]]
        idle = ticks[3] + ticks[4]
        return Core(sum(ticks) - idle, sum(ticks))

    def busy_since(self, before: "Core") -> float:
        """The share of its time since then that it was not idle."""
        return (self.busy - before.busy) / max(self.whole - before.whole, 1)


def idle_room() -> int:
    """For how many idle connections a server finds descriptors, as all of them count: two for each."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return (hard // 2 - OTHER_CONNECTIONS) // 1000 * 1000


def raise_descriptors() -> None:
    """So that clients, servers and the origin find a descriptor for each connection."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, DESCRIPTORS), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return
        except (OSError, ValueError):
            pass  # Only root may go beyond the hard limit.
