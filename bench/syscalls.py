"""Counts system calls, in a run of its own: `perf` where the kernel lets it, else `strace`.

Neither is near a round that is timed.
"""

import pathlib
import re
import signal
import subprocess
import tempfile
import time

from process import Process, Trouble, command

EVENT = "raw_syscalls:sys_enter"
LOAD_SECONDS = 60
ATTACH_SECONDS = 10


def count(process: Process, load: list[str]) -> int:
    """All system calls of the process and its children while the load runs."""
    with tempfile.NamedTemporaryFile(prefix="syscalls-") as file:
        found = by_perf(process, load, pathlib.Path(file.name))
        return by_strace(process, load, pathlib.Path(file.name)) if found is None else found


def by_perf(process: Process, load: list[str], output: pathlib.Path) -> int | None:
    """None where there is no perf, or it may not."""
    try:
        perf = command("perf")
    except Trouble:
        return None
    pids = ",".join(map(str, process.pids()))
    result = subprocess.run([perf, "stat", "-x", ",", "-o", str(output), "-e", EVENT, "-p", pids,
                             "--", *load], capture_output=True, text=True, timeout=LOAD_SECONDS)
    row = re.search(rf"^(\d+),.*{EVENT}", output.read_text(), re.MULTILINE)
    if result.returncode == 3:
        raise Trouble(f"the load was not answered: {result.stderr.strip()}")
    return int(row.group(1)) if row and result.returncode == 0 else None


def by_strace(process: Process, load: list[str], output: pathlib.Path) -> int:
    pids = [word for pid in process.pids() for word in ("-p", str(pid))]
    tracer = subprocess.Popen([command("strace"), "-f", "-c", "-U", "calls,name", "-o",
                               str(output), *pids], stderr=subprocess.PIPE)
    try:
        attached(tracer, process)
        subprocess.run(load, check=True, capture_output=True, timeout=LOAD_SECONDS)
    except subprocess.SubprocessError as trouble:
        raise Trouble(f"under strace: {trouble}") from trouble
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=ATTACH_SECONDS)
    total = re.search(r"^\s*(\d+)\s+total$", output.read_text(), re.MULTILINE)
    if not total:
        raise Trouble("strace counted nothing")
    return int(total.group(1))


def attached(tracer: subprocess.Popen, process: Process) -> None:
    """Waits until every process is traced."""
    end = time.monotonic() + ATTACH_SECONDS
    while time.monotonic() < end and tracer.poll() is None:
        status = [pathlib.Path(f"/proc/{pid}/status").read_text() for pid in process.pids()]
        if all("TracerPid:\t0" not in text for text in status):
            return
        time.sleep(0.02)
    raise Trouble("strace could not attach")
