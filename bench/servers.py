"""The servers that are compared: how each is configured, started, read and stopped.

All do the same work: HTTP/1.1 kept alive on both sides, one worker, X-Forwarded-For added, no log,
and room to keep an idle upstream connection for each client.
Only processes started here are ever signalled, by their id, and all of them are gone at the end.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_SECONDS = 20
STOP_SECONDS = 10
BUILD_SECONDS = 1800
TICKS = os.sysconf("SC_CLK_TCK")

NGINX = """
daemon off; master_process {master}; worker_processes 1; user root; pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 9000; }}
http {{
  access_log off; server_tokens off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000; keepalive_timeout 60s; client_max_body_size 0;
  upstream origin {{ server {host}:{origin}; keepalive 2048; keepalive_requests 1000000000; }}
  server {{
    listen {host}:{port} backlog=4096;
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      {buffering}
    }}
  }}
}}
"""

# Without buffering, nginx reads into the one buffer meant for heads, 4 KiB unless told otherwise.
NGINX_UNBUFFERED = "proxy_buffering off; proxy_request_buffering off; " \
    "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;"
HAPROXY_SPLICE = "option splice-request\n  option splice-response"

HAPROXY = """
global
  nbthread 1
  maxconn 4000
  maxpipes 1000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  option forwardfor
  http-reuse always
  {splice}
frontend web
  bind {host}:{port} backlog 4096
  default_backend origin
backend origin
  server origin {host}:{origin} pool-max-conn 4096
"""

GATEHOUSE = """
workers = 1

[log]
access = {{ {access} }}

[listeners.web]
bind = "{host}:{port}"

[[routes]]
upstream = "origin"

[upstreams.origin]
endpoints = ["{host}:{origin}"]
keepalive = {{ idle-per-worker = 2048 }}
"""


class Trouble(Exception):
    """Something that a person must mend; its text says what."""


def command(name):
    """Where a program is; servers live where an ordinary PATH does not look."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    if not found:
        raise Trouble(f"{name} is not installed: run .ci/setup")
    return found


def text_of(*arguments):
    result = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    return result.stdout.decode(errors="replace")


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Process:
    """One started program, with the processes it starts itself."""

    def __init__(self, arguments, core, log):
        self.log = log
        self.port = None
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                [command("taskset"), "-c", str(core), *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def wait_for_port(self, port, seconds=START_SECONDS):
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
        said = pathlib.Path(self.log).read_text(errors="replace")[-2000:].strip()
        raise Trouble(f"port {port} was not opened (limit {seconds} s); it said: {said}")

    def pids(self):
        """The process and its children, which is as deep as servers go here."""
        pid = self.child.pid
        pids = [pid]
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            pids += [int(child) for child in task.read_text().split()]
        return pids

    def processor_seconds(self):
        """User and system time of all its processes so far."""
        user = system = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user += int(fields[11])
            system += int(fields[12])
        return user / TICKS, system / TICKS

    def resident_bytes(self):
        total = 0
        for pid in self.pids():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            found = re.search(r"VmRSS:\s+(\d+) kB", status)
            total += int(found.group(1)) * 1024 if found else 0
        return total

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end:
            try:
                self.child.wait(1)
                return
            except subprocess.TimeoutExpired:
                self.knock()
        self.child.kill()
        self.child.wait()

    def knock(self):
        """Wakes a server that waits for events and has missed its signal, as nginx may."""
        try:
            socket.create_connection((HOST, self.port), 1).close()
        except (OSError, TypeError):
            pass


class Server:
    """A kind of server: how to write its configuration and its command line."""

    def __init__(self, name, version, arguments, config=None, **values):
        self.name = name
        self.version = version
        self.arguments = arguments
        self.config = config
        self.values = values

    def line(self, folder, port, origin, **more):
        """Writes the configuration; gives the command line."""
        values = {"folder": folder, "host": HOST, "port": port, "origin": origin}
        values.update(self.values, **more)
        if self.config:
            values["config"] = folder / f"{self.name}.conf"
            values["config"].write_text(self.config.format(**values))
        return [argument.format(**values) for argument in self.arguments]


def built(package):
    """The binary of one of our packages as it is shipped, built if need be."""
    line = ["cargo", "build", "--quiet", "--profile", "dist", "-p", package]
    subprocess.run(line, cwd=ROOT, check=True, timeout=BUILD_SECONDS)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "dist"


def rig_binary():
    return built("gatehouse-rig") / "rig"


def gatehouse_binary(given):
    """The binary to measure: the one given, or the one that is shipped."""
    binary = pathlib.Path(given) if given else built("gatehouse") / "gatehouse"
    if not binary.exists():
        raise Trouble(f"{binary}: no such file")
    return binary.resolve()


def rig_relay(rig):
    return Server("relay", "rig", [str(rig), "relay", "--listen", "{host}:{port}",
                                   "--to", "{host}:{origin}"])


def nginx(name="nginx", buffering="", master="on"):
    binary = command("nginx")
    version = text_of(binary, "-v").strip().rpartition("/")[2]
    # Messages of before the configuration is read would go to a log of the system's.
    arguments = [binary, "-p", "{folder}", "-e", "stderr", "-c", "{config}"]
    return Server(name, version, arguments, NGINX, buffering=buffering, master=master)


def haproxy(name="haproxy", splice=""):
    binary = command("haproxy")
    version = re.search(r"version (\S+)", text_of(binary, "-v")).group(1)
    return Server(name, version, [binary, "-db", "-f", "{config}"], HAPROXY, splice=splice)


def gatehouse(binary, name="gatehouse", access='format = "off"'):
    version = text_of(str(binary), "--version").strip() or "unknown"
    arguments = [str(binary), "run", "-c", "{config}"]
    return Server(name, version, arguments, GATEHOUSE, access=access)


def end_on_signals():
    """Turns a request to end into an orderly end, with every process stopped."""
    def end(number, _frame):
        sys.exit(128 + number)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)


def machine():
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return {
        "processor": cpu.group(1) if cpu else os.uname().machine,
        "cores": os.cpu_count(),
        "memory_bytes": int(memory.group(1)) * 1024,
        "kernel": f"{os.uname().sysname} {os.uname().release}",
        "load_average": os.getloadavg(),
    }
