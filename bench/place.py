"""What a workload asks of every server's configuration, and where a server is put."""

import dataclasses
import pathlib

import certificate


@dataclasses.dataclass(frozen=True)
class Setup:
    # Large bodies are passed on as they come: nginx unbuffered, HAProxy with splice.
    streams: bool = False
    # Access log to a file, header edits, limits: all that a server has.
    everything: bool = False
    # An access log that goes nowhere, and nothing else.
    logging: bool = False
    # So many hosts, each with so many routes; one route for all where there are none.
    hosts: int = 0
    routes: int = 0
    # Idle client connections to have room for.
    idle: int = 0
    # It will be reloaded.
    reloads: bool = False
    # The listener terminates TLS, and offers HTTP/2 there.
    tls: bool = False
    http2: bool = False
    # Bytes are carried, and not looked at.
    tcp: bool = False
    # In one process, so that there is one count.
    single_process: bool = False


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a server runs: a folder of its own, its port, its origin's port."""

    folder: pathlib.Path
    port: int
    origin: int

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def certificate(self) -> pathlib.Path:
        """The folder with cert.pem, key.pem and both.pem."""
        if not (self.folder / "cert.pem").exists():
            certificate.make(self.folder)
        return self.folder

    def access_log(self) -> pathlib.Path:
        return self.folder / "access.log"
