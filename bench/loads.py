"""Load: runs `rig`'s generators, and refuses what is not the answer that was asked for."""

import dataclasses
import json
import pathlib
import subprocess

import h2load
from process import HOST, Trouble, pinned
from workloads import FIELDS, KIB, Workload

# Beyond the time it is to run for: an answer that does not come ends a run after 10 s.
SLACK_SECONDS = 30
# Of all requests, so many may have found their connection broken; more is no measurement.
BROKEN_SHARE = 0.001


class WrongAnswers(Trouble):
    """A server gave something else than was asked for: its figures would be of error pages."""


@dataclasses.dataclass(frozen=True)
class Generator:
    """Where `rig` is, on which core it runs, and where it may leave a file."""

    rig: pathlib.Path
    core: int
    folder: pathlib.Path

    def line(self, command: str, *options: object) -> list[str]:
        return pinned(self.core, [self.rig, command, *options])

    def options(self, workload: Workload, port: int) -> list[object]:
        """What is asked, and of whom."""
        options: list[object] = ["--to", f"{HOST}:{port}", "--path", workload.path,
                                 "--connections", workload.connections]
        length = answer_bytes(workload)
        options += ["--answer-bytes", length] if length else []
        if workload.upload_bytes:
            options += ["--upload-bytes", workload.upload_bytes]
        if workload.fields:
            file = self.folder / "fields"
            file.write_text(FIELDS)
            options += ["--fields", file]
        if workload.setup.hosts:
            options += ["--hosts", workload.setup.hosts, "--routes", workload.setup.routes]
        if workload.closes:
            options += ["--afterwards", "close"]
        return options

    def load(self, workload: Workload, port: int, seconds: float) -> dict:
        """A closed loop of so many seconds, or over TLS of so many requests."""
        if workload.setup.tls:
            count = round(workload.a_second * seconds)
            return h2load.run(self.secured(workload, port, count), self.folder / h2load.TIMES,
                              count * KIB, seconds + SLACK_SECONDS)
        line = self.line("load", *self.options(workload, port), "--format", "json",
                         "--milliseconds", round(seconds * 1000))
        return run(line, seconds)

    def requests(self, workload: Workload, port: int, count: int) -> list[str]:
        """The command line of a closed loop of so many requests, which fails on a wrong answer."""
        if workload.setup.tls:
            return self.secured(workload, port, count)
        return self.line("load", *self.options(workload, port), "--requests", count)

    def secured(self, workload: Workload, port: int, count: int) -> list[str]:
        return pinned(self.core, h2load.line(workload, port, count, self.folder / h2load.TIMES))

    def pace(self, workload: Workload, port: int, rate: int, connections: int,
             seconds: float) -> dict:
        """An open loop: latency counts from when a request was due."""
        line = self.line("pace", "--to", f"{HOST}:{port}", "--path", workload.path, "--rate", rate,
                         "--connections", connections, "--milliseconds", round(seconds * 1000))
        return run(line, seconds)

    def run(self, line: list[str], seconds: float) -> dict:
        """What a command line of this generator's found."""
        return run(line, seconds)


def answer_bytes(workload: Workload) -> int | None:
    """How long the answer's body must be."""
    if workload.upload_bytes:
        return len(json.dumps({"bytes": workload.upload_bytes}, separators=(",", ":"))) + 1
    return workload.answer_bytes


def run(line: list[str], seconds: float) -> dict:
    try:
        result = subprocess.run(line, capture_output=True, text=True,
                                timeout=seconds + SLACK_SECONDS)
    except subprocess.TimeoutExpired as expired:
        raise Trouble(f"the load did not end: {expired}") from expired
    if result.returncode != 0:
        raise Trouble(f"the load ended with {result.returncode}: {result.stderr.strip()}")
    return json.loads(result.stdout)


def held_to(name: str, figures: dict) -> dict:
    """The figures, if they are of the answers that were asked for."""
    errors = figures["errors"]
    wrong = sum(count for kind, count in errors.items() if kind != "broken")
    asked = figures["answered"] + sum(errors.values())
    if wrong or errors["broken"] > asked * BROKEN_SHARE:
        first = figures.get("first_error") or ", ".join(
            f"{kind} {count}" for kind, count in errors.items() if count)
        raise WrongAnswers(
            f"{name}: {wrong + errors['broken']:,} of {asked:,} answers are not what was asked "
            f"for; the first: {first}. Nothing is measured on errors")
    if not figures["answered"]:
        raise WrongAnswers(f"{name}: not one request was answered")
    return figures
