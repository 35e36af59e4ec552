"""Finds, installs and builds the peers. One that cannot be had is named with the reason."""

import pathlib
import re
import subprocess
import sys

import servers
from process import ROOT, Trouble, command, text_of
from servers import BUILD_SECONDS, Server

HERE = ROOT / "bench/peers"
INSTALL_SECONDS = 900


def install() -> None:
    """Installs what Debian has. Where that fails, those that are missing are named later."""
    result = subprocess.run([ROOT / ".ci/setup", "--peers"], capture_output=True, text=True,
                            timeout=INSTALL_SECONDS)
    if result.returncode != 0:
        sys.stderr.write(f"compare: not everything could be installed: {result.stderr.strip()}\n")


def run(name: str, line: list, folder: pathlib.Path) -> None:
    result = subprocess.run([str(word) for word in line], cwd=folder, capture_output=True,
                            text=True, timeout=BUILD_SECONDS)
    if result.returncode != 0:
        last = result.stderr.strip().splitlines()[-1:] or ["it does not say why"]
        raise Trouble(f"{name} could not be built: {last[0]}")


def go() -> Server:
    binary = servers.target() / "peers/goproxy"
    binary.parent.mkdir(parents=True, exist_ok=True)
    run("go", [command("go"), "build", "-o", binary, "."], HERE / "go")
    version = text_of(command("go"), "version").split()[2].removeprefix("go")
    return servers.make_go(binary, version)


def pingora() -> Server:
    folder, output = HERE / "pingora", servers.target() / "peers/pingora"
    run("pingora", ["cargo", "build", "--quiet", "--locked", "--release", "--target-dir", output],
        folder)
    lock = (folder / "Cargo.lock").read_text()
    version = re.search(r'name = "pingora"\nversion = "([^"]+)"', lock).group(1)
    return servers.make_pingora(output / "release/pingora-peer", version)


class Peers:
    """All servers by name, each made when it is first asked for."""

    NAMES = ["relay", "gatehouse", "nginx", "haproxy", "pingora", "go", "caddy"]

    def __init__(self, rig: pathlib.Path, binary: str | None, others: dict[str, str]):
        self.makers = {
            "relay": lambda: servers.make_relay(rig),
            "gatehouse": lambda: servers.make_gatehouse(servers.gatehouse_binary(binary)),
            "nginx": servers.make_nginx,
            "haproxy": servers.make_haproxy,
            "pingora": pingora,
            "go": go,
            "caddy": servers.make_caddy,
        }
        for name, words in others.items():
            self.makers[name] = lambda name=name, words=words: servers.make_other(name, words)
        self.made: dict[str, Server] = {}
        self.absent: dict[str, str] = {}

    def find(self, name: str) -> Server | None:
        """A server; none where it cannot be had, and then `absent` says why."""
        if name not in self.made and name not in self.absent:
            try:
                self.made[name] = self.makers[name]()
            except (Trouble, subprocess.SubprocessError, OSError) as trouble:
                self.absent[name] = str(trouble)
        return self.made.get(name)
