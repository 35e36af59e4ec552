"""Measures one workload: rounds in which all its servers take turns, one kind of round a function."""

import contextlib
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import gatehouse
import instructions
import syscalls
from loads import SLACK_SECONDS, WrongAnswers, held_to
from machine import Core
from process import HOST, Trouble
from running import LOAD_CORE, PROXY_CORE, Running, Stage, verify
from servers import Server
from workloads import FEW_ROUNDS, KIB, SLOW_MS, Workload

WARM_UP_SECONDS = 0.5
# The open loop: half of what the slowest server can, and room for what waits in the origin.
LOAD_SHARE = 0.5
RATE_STEP = 1000
CALIBRATION_SECONDS = 1.0
CALIBRATION_CONNECTIONS = 1024
WAITING_FACTOR = 3
# Load and origin may have so much of their core: above, it is their queues that are measured.
CORE_SHARE = 0.6
# Before idle connections are counted, pools and buffers are there.
FIRST_REQUESTS = 3000
IDLE_SOURCES = 4
IDLE_SECONDS = 120
RELOAD_AT = 0.4
DIRECT = "direct"


class Plan:
    """How often and how long, and who takes part."""

    def __init__(self, workload: Workload, servers: dict[str, Server], rig: pathlib.Path,
                 rounds: int, few_rounds: int, seconds: float):
        self.workload = workload
        self.servers = servers
        self.rig = rig
        self.rounds = rounds
        self.few_rounds = min(few_rounds, rounds)
        self.seconds = seconds

    def turns(self, present: list[str]) -> list[list[str]]:
        """Who is measured in which order. Each round begins with another one."""
        few = [name for name in present if name in self.workload.few]
        always = [name for name in present if name not in few]
        rounds = []
        for number in range(self.rounds):
            taking = always + (few if number < self.few_rounds else [])
            turn = number % max(len(taking), 1)
            rounds.append(taking[turn:] + taking[:turn])
        return rounds


def measured(plan: Plan) -> dict:
    """The rounds of a workload, and what else was found."""
    kinds: dict[str, Callable[[Plan], dict]] = {
        "load": load, "idle": idle, "pace": pace, "reload": reload, "instructions": counted,
        "growth": grown}
    return kinds[plan.workload.kind](plan)


def progress(plan: Plan, number: int) -> None:
    end = "\n" if number == plan.rounds else ""
    sys.stderr.write(f"\r{plan.workload.name}: round {number} of {plan.rounds}{end}")


def side_by_side(stage: Stage, plan: Plan) -> dict[str, Running]:
    found = {}
    for server in plan.servers.values():
        running = stage.serve(server, plan.workload.setup)
        verify(running, plan.workload)
        found[server.name] = running
    return found


def notes(plan: Plan) -> dict:
    """What was on, where not all of it is there in every version."""
    if not plan.workload.setup.everything or "gatehouse" not in plan.servers:
        return {}
    binary = plan.servers["gatehouse"].binary
    on = [feature.name for feature in gatehouse.features(binary)]
    off = [feature.name for feature in gatehouse.FEATURES if feature.name not in on]
    return {"on": on, "not_built": off}


def load(plan: Plan) -> dict:
    """As many requests as go, over connections that are always busy."""
    rounds = []
    with Stage(plan.rig) as stage:
        running = side_by_side(stage, plan)
        for one in running.values():
            held_to(one.name, stage.generator.load(plan.workload, one.port, WARM_UP_SECONDS))
        for number, turn in enumerate(plan.turns(list(running)), 1):
            rounds.append({name: loaded(stage, plan, running[name]) for name in turn})
            progress(plan, number)
        calls = {name: traced(stage, plan, one) for name, one in running.items()}
    return {"rounds": rounds, "syscalls": calls} | notes(plan)


def loaded(stage: Stage, plan: Plan, running: Running) -> dict:
    cores = [Core.now(PROXY_CORE), Core.now(LOAD_CORE)]
    before, begin = running.process.processor(), time.monotonic()
    figures = held_to(running.name,
                      stage.generator.load(plan.workload, running.port, plan.seconds))
    elapsed = time.monotonic() - begin
    user, system = running.process.processor().since(before)
    proxy_core, load_core = (Core.now(core).busy_since(was)
                             for core, was in zip((PROXY_CORE, LOAD_CORE), cores))
    requests = figures["answered"]
    running.forget_logs()
    return {
        "user_us": user * 1e6 / requests,
        "system_us": system * 1e6 / requests,
        "cpu_us": (user + system) * 1e6 / requests,
        "rate": requests / figures["seconds"],
        "p50": figures["p50"], "p99": figures["p99"], "p999": figures["p999"],
        "resident_bytes": running.process.resident_bytes(),
        "failed": sum(figures["errors"].values()),
        "load_core_busy": load_core,
        # What others did where the proxy alone should be.
        "disturbed": max(proxy_core - (user + system) / elapsed, 0.0),
    }


def traced(stage: Stage, plan: Plan, running: Running) -> float:
    """System calls a request."""
    count = plan.workload.traced
    line = stage.generator.requests(plan.workload, running.port, count)
    return syscalls.count(running.process, line) / count


def pace(plan: Plan) -> dict:
    """A fixed rate at an origin that takes its time: what a proxy adds is its p99 less direct."""
    rounds = []
    with Stage(plan.rig) as stage:
        running = side_by_side(stage, plan)
        half = half_load(stage, plan, running)
        rate = within_core(stage, plan, half)
        for number, turn in enumerate(plan.turns([DIRECT, *running]), 1):
            rounds.append({name: paced(stage, plan, running.get(name), rate) for name in turn})
            progress(plan, number)
    return {"rounds": rounds, "rate_asked": rate, "half_load": half,
            "connections": waiting(rate)}


def paced(stage: Stage, plan: Plan, running: Running | None, rate: int) -> dict:
    """One round by a server, or where there is none with the origin itself."""
    name, port = (running.name, running.port) if running else (DIRECT, stage.origin)
    before = running.process.processor() if running else None
    figures = held_to(name, stage.generator.pace(plan.workload, port, rate, waiting(rate),
                                                 plan.seconds))
    cost = {}
    if running and before:
        user, system = running.process.processor().since(before)
        cost["cpu_us"] = (user + system) * 1e6 / (figures["answered"] + figures["answered_before"])
    return cost | {
        "rate": figures["answered"] / figures["seconds"], "unsent": figures["unsent"],
        "p50": figures["p50"], "p99": figures["p99"], "p999": figures["p999"],
        "generator_busy": figures["own_cpu_share"]}


def half_load(stage: Stage, plan: Plan, running: dict[str, Running]) -> int:
    """Half of what the slowest of the servers answers in a closed loop; one rate for all."""
    fast = Workload("calibration", "", connections=CALIBRATION_CONNECTIONS,
                    path=f"/bytes/{KIB}")
    rates = []
    for one in running.values():
        figures = held_to(one.name, stage.generator.load(fast, one.port, CALIBRATION_SECONDS))
        rates.append(figures["answered"] / figures["seconds"])
    if not rates:
        raise Trouble("the rate follows from servers, and there is none")
    return max(int(min(rates) * LOAD_SHARE) // RATE_STEP * RATE_STEP, RATE_STEP)


def waiting(rate: int) -> int:
    """Connections for what waits in the origin, and some more."""
    return max(rate * SLOW_MS * WAITING_FACTOR // 1000, 1)


def within_core(stage: Stage, plan: Plan, rate: int) -> int:
    """The rate, or less where load and origin would have no time left on their core."""
    before = stage.origin_process.processor()
    figures = held_to(DIRECT, stage.generator.pace(plan.workload, stage.origin, rate,
                                                   waiting(rate), CALIBRATION_SECONDS))
    requests = figures["answered"] + figures["answered_before"]
    origin = sum(stage.origin_process.processor().since(before)) / requests * rate
    busy = figures["own_cpu_share"] + origin
    if busy <= CORE_SHARE:
        return rate
    return max(int(rate * CORE_SHARE / busy) // RATE_STEP * RATE_STEP, RATE_STEP)


def idle(plan: Plan) -> dict:
    """Resident memory of a connection that waits, after one request."""
    rounds = []
    for number, turn in enumerate(plan.turns(list(plan.servers)), 1):
        rounds.append({name: held(plan, plan.servers[name]) for name in turn})
        progress(plan, number)
    return {"rounds": rounds, "held": plan.workload.setup.idle}


def held(plan: Plan, server: Server) -> dict:
    count = plan.workload.setup.idle
    with Stage(plan.rig) as stage:
        running = stage.serve(server, plan.workload.setup)
        verify(running, plan.workload)
        first = stage.generator.requests(plan.workload, running.port, FIRST_REQUESTS)
        subprocess.run(first, check=True, capture_output=True, timeout=SLACK_SECONDS)
        before = running.process.resident_bytes()
        line = stage.generator.line("hold", "--to", f"{HOST}:{running.port}", "--count", count,
                                    "--sources", IDLE_SOURCES, "--path", plan.workload.path,
                                    "--answer-bytes", plan.workload.answer_bytes)
        after, still_open = holding(server.name, line, running.process.resident_bytes)
    if still_open != count:
        raise WrongAnswers(f"{server.name}: {still_open:,} of {count:,} connections are open")
    return {"idle_bytes": (after - before) / count, "resident_bytes": after}


def holding(name: str, line: list[str], resident_bytes: Callable[[], int]) -> tuple[int, int]:
    """Memory while connections are held, and how many were open to the end."""
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        timer = threading.Timer(IDLE_SECONDS, holder.kill)
        timer.start()
        stack.callback(timer.cancel)
        stack.callback(holder.kill)
        said = holder.stdout.readline()
        if not said.startswith("held "):
            raise WrongAnswers(f"{name}: connections could not be held: {holder.stderr.read()}")
        after = resident_bytes()
        rest, _ = holder.communicate()
        return after, int(rest.split()[1])


def reload(plan: Plan) -> dict:
    """A reload in the middle of a load: what it costs clients."""
    rounds, not_built = [], {}
    with Stage(plan.rig) as stage:
        running = side_by_side(stage, plan)
        for number, turn in enumerate(plan.turns(list(running)), 1):
            found = {}
            for name in turn:
                if name not in not_built:
                    figures = reloaded(stage, plan, running[name], number)
                    if figures is None:
                        not_built[name] = gatehouse.NOT_BUILT
                    else:
                        found[name] = figures
            rounds.append(found)
            progress(plan, number)
    return {"rounds": rounds, "not_built": not_built}


def reloaded(stage: Stage, plan: Plan, running: Running, round_number: int) -> dict | None:
    """None where the server says that it cannot."""
    process, number = running.process, running.server.reload_signal
    if number is None:
        return None
    if running.name == "gatehouse":
        gatehouse.change(running.place, round_number)
    pids, reloads = set(process.pids()), process.said().count(gatehouse.RELOADED)
    timer = threading.Timer(plan.seconds * RELOAD_AT, process.signal, [number])
    timer.start()
    try:
        figures = stage.generator.load(plan.workload, running.port, plan.seconds)
    finally:
        timer.cancel()
    if gatehouse.NOT_BUILT in process.said():
        return None
    # Gatehouse says so, the others have started new workers.
    if set(process.pids()) == pids and process.said().count(gatehouse.RELOADED) == reloads:
        raise Trouble(f"{running.name}: it was told to reload and did not: {process.said()[-500:]}")
    errors = dict(figures["errors"])
    broken = errors.pop("broken")
    if any(errors.values()) or not figures["answered"]:
        held_to(running.name, figures)
    return {"rate": figures["answered"] / figures["seconds"], "failed": broken,
            "p50": figures["p50"], "p99": figures["p99"], "p999": figures["p999"],
            "max": figures["max"]}


def counted(plan: Plan) -> dict:
    """User instructions a request, by callgrind: one round, since they repeat within 1 %."""
    found = instructions.of_all(plan.rig, list(plan.servers.values()))
    return {"rounds": [found]}


def grown(_plan: Plan) -> dict:
    """As they are held by budgets.toml."""
    return {"rounds": [{"gatehouse": instructions.growth()}]}
