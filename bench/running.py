"""Servers that run side by side for one workload, in front of one origin, and end with it."""

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import tempfile

from loads import Generator
from place import Place, Setup
from process import HOST, Process, Trouble, command, free_port
from servers import Server
from workloads import Workload

PROXY_CORE, LOAD_CORE = 0, 1
# 10,000 hosts are read in a while, and valgrind makes everything fifty times slower.
START_SECONDS = 120
CURL_SECONDS = 20
# Where Caddy keeps what it knows.
HOMES = ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"]
# In memory, so that no disk is measured.
MEMORY = pathlib.Path("/dev/shm")


@dataclasses.dataclass
class Running:
    server: Server
    process: Process
    place: Place

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def port(self) -> int:
        return self.place.port

    def forget_logs(self) -> None:
        """Empties what it has written, so that memory does not fill up."""
        for file in (self.place.access_log(), self.process.log):
            if file.exists():
                with open(file, "r+b") as opened:
                    opened.truncate(0)


class Stage(contextlib.ExitStack):
    """Everything started on it is gone when it is left, however that happens."""

    def __init__(self, rig: pathlib.Path):
        super().__init__()
        memory = MEMORY if MEMORY.is_dir() else None
        folder = tempfile.TemporaryDirectory(prefix="compare-", dir=memory)
        self.folder = pathlib.Path(self.enter_context(folder))
        self.rig = rig
        self.generator = Generator(rig, LOAD_CORE, self.folder)
        self.origin = free_port()
        line = [rig, "origin", "--listen", f"{HOST}:{self.origin}"]
        self.origin_process = self.start(line, LOAD_CORE, self.folder / "origin.log", self.origin,
                                         {})

    def start(self, line: list, core: int, log: pathlib.Path, port: int,
              environment: dict[str, str]) -> Process:
        process = Process(line, core, log, environment)
        self.callback(process.stop)
        process.wait_for_port(port, START_SECONDS)
        return process

    def serve(self, server: Server, setup: Setup, before: list[str] | None = None) -> Running:
        """Starts a server; `before` is what its command line stands behind."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{server.name}-", dir=self.folder))
        place = Place(folder, free_port(), self.origin)
        line = (before or []) + server.line(place, setup)
        homes = {name: str(folder) for name in HOMES}
        try:
            process = self.start(line, PROXY_CORE, folder / "said.log", place.port,
                                 homes | server.environment)
        except Trouble as trouble:
            raise Trouble(f"{server.name}: {trouble}") from trouble
        return Running(server, process, place)


def verify(running: Running, workload: Workload) -> None:
    """It gives what the origin gives, and adds what it must."""
    more = ["-w", "\n%{http_code} %{size_download}"]
    if workload.upload_bytes:
        more += ["--data-binary", "u" * min(workload.upload_bytes, 64 << 10)]
    path = workload.path
    if workload.setup.hosts:
        path += "/r7"
        more += ["-H", "Host: h77.example.test"]
    expected = curl(running.place.origin, path, *more)
    given = curl(running.port, path, *more, scheme=scheme(workload))
    wanted, found = (b" and ".join(answer.split()[-2:]).decode() for answer in (expected, given))
    if found != wanted or not wanted.startswith("200 "):
        raise Trouble(f"{running.name}: status {found} bytes, not {wanted} bytes")
    if given != expected:
        raise Trouble(f"{running.name}: the right status and length, and another content")
    if running.name == "relay" or workload.setup.tcp:
        return
    echo = json.loads(curl(running.port, "/echo", scheme=scheme(workload)))
    fields = {field.lower(): value for field, value in echo["fields"]}
    if "x-forwarded-for" not in fields:
        raise Trouble(f"{running.name}: no X-Forwarded-For towards the origin")
    if workload.setup.everything and fields.get("x-env") != "prod":
        raise Trouble(f"{running.name}: the request's fields are not edited")


def scheme(workload: Workload) -> str:
    return "https" if workload.setup.tls else "http"


def curl(port: int, path: str, *more: str, scheme: str = "http") -> bytes:
    url = f"{scheme}://{HOST}:{port}{path}"
    line = [command("curl"), "-sSk", "--max-time", str(CURL_SECONDS), *more, url]
    result = subprocess.run(line, capture_output=True, timeout=CURL_SECONDS + 10)
    if result.returncode != 0:
        raise Trouble(f"{url}: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout
