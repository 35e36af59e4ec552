"""Results as Markdown: the same for the terminal, the documents and the README."""

import statistics
from collections.abc import Callable

from figures import (MET, NOISE, UNKNOWN, Spread, Verdict, figure, names, ratio, spread, value,
                     verdict)
from workloads import TARGETS, WORKLOADS, Target, Workload

MIB = 1 << 20
# Above this share the core of load and origin had no time left, and rates are its, not the proxy's.
SATURATED = 0.97

# Above this share others were at work on the proxy's core.
DISTURBED = 0.05

# Below this share of the rate that was asked for, it was not kept.
RATE_KEPT = 0.99

NAMES = {"gatehouse": "Gatehouse", "nginx": "nginx", "haproxy": "HAProxy", "relay": "plain relay",
         "pingora": "Pingora", "go": "Go ReverseProxy", "caddy": "Caddy", "direct": "no proxy"}


def name_of(name: str) -> str:
    return NAMES.get(name, name)


def between(found: Spread | None, digits: int, scale: float = 1.0) -> str:
    """A median with the middle half around it."""
    if found is None:
        return "-"
    low, median, high = (f"{part * scale:,.{digits}f}"
                         for part in (found.low, found.median, found.high))
    return median if low == high else f"{median} ({low}-{high})"


def middle(found: Spread | None, digits: int, scale: float = 1.0) -> str:
    return "-" if found is None else f"{found.median * scale:,.{digits}f}"


def markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return [line(head), "|---" * len(head) + "|", *map(line, rows)]


def table(result: dict) -> list[str]:
    """The table of one workload, its verdicts below it."""
    workload = WORKLOADS[result["workload"]]
    kinds: dict[str, Callable[[dict], list[str]]] = {
        "load": load, "idle": idle, "pace": pace, "reload": reload, "instructions": instructions,
        "growth": growth}
    lines = kinds[workload.kind](result) + footnotes(result)
    found = [verdict(target, result) for target in TARGETS if target.workload == workload.name]
    known = [f"- {said(one)}" for one in found if one.word != UNKNOWN]
    return lines + ([""] + known if known else [])


def ordered(result: dict, key: str) -> list[str]:
    """Who was measured, the best first."""
    rounds = result["rounds"]
    known = [name for name in names(rounds) if figure(rounds, name, key)]
    return sorted(known, key=lambda name: figure(rounds, name, key).median)


def load(result: dict) -> list[str]:
    rounds, calls = result["rounds"], result.get("syscalls", {})
    head = ["", "CPU us/request", "user", "system", "Gatehouse / this", "requests/s", "p50 ms",
            "p99 ms", "p99.9 ms", "resident MiB", "syscalls/request", "load core busy", "errors"]
    rows = []
    for name in ordered(result, "cpu_us"):
        of = lambda key: figure(rounds, name, key)
        rows.append([
            name_of(name), between(of("cpu_us"), 1), middle(of("user_us"), 1),
            middle(of("system_us"), 1), by_its(rounds, name, "cpu_us"), middle(of("rate"), 0),
            *(middle(of(key), 2, 1e-3) for key in ("p50", "p99", "p999")),
            middle(of("resident_bytes"), 1, 1 / MIB),
            f"{calls[name]:.2f}" if name in calls else "-",
            middle(of("load_core_busy"), 0, 100) + " %" if of("load_core_busy") else "-",
            str(failed(rounds, name))])
    return markdown(head, rows)


def by_its(rounds: list, name: str, key: str) -> str:
    return "" if name == "gatehouse" else between(ratio(rounds, "gatehouse", (name,), key), 2)


def failed(rounds: list, name: str) -> int:
    return sum(one[name]["failed"] for one in rounds if name in one)


def idle(result: dict) -> list[str]:
    rounds = result["rounds"]
    head = ["", "resident bytes a connection", "Gatehouse / this", "resident MiB in all"]
    return markdown(head, [
        [name_of(name), between(figure(rounds, name, "idle_bytes"), 0),
         by_its(rounds, name, "idle_bytes"),
         middle(figure(rounds, name, "resident_bytes"), 1, 1 / MIB)]
        for name in ordered(result, "idle_bytes")])


def pace(result: dict) -> list[str]:
    rounds = result["rounds"]
    head = ["", "p99 added ms", "p50 ms", "p99 ms", "p99.9 ms", "CPU us/request", "requests/s"]
    rows = []
    for name in ordered(result, "p99"):
        of = lambda key: figure(rounds, name, key)
        added = spread(known for one in rounds
                       if (known := value(one, name, "added_p99")) is not None)
        rows.append([
            name_of(name), between(added, 2, 1e-3) if name != "direct" else "",
            *(middle(of(key), 2, 1e-3) for key in ("p50", "p99", "p999")),
            middle(of("cpu_us"), 1), middle(of("rate"), 0)])
    return markdown(head, rows)


def reload(result: dict) -> list[str]:
    rounds = result["rounds"]
    head = ["", "requests that failed, by round", "requests/s", "p50 ms", "p99 ms", "p99.9 ms",
            "longest ms"]
    rows = []
    for name in ordered(result, "p99"):
        of = lambda key: figure(rounds, name, key)
        errors = ", ".join(str(one[name]["failed"]) for one in rounds if name in one)
        rows.append([name_of(name), errors, middle(of("rate"), 0),
                     *(middle(of(key), 2, 1e-3) for key in ("p50", "p99", "p999", "max"))])
    for name, reason in result.get("not_built", {}).items():
        words = "not built yet" if reason == "not in this version" else reason
        rows.append([name_of(name), words] + ["-"] * (len(head) - 2))
    return markdown(head, rows)


def instructions(result: dict) -> list[str]:
    rounds = result["rounds"]
    return markdown(["", "plain", "everything on"], [
        [name_of(name), middle(figure(rounds, name, "instructions"), 0),
         middle(figure(rounds, name, "instructions_everything"), 0)]
        for name in ordered(result, "instructions")])


def growth(result: dict) -> list[str]:
    rounds = result["rounds"]
    return markdown(["", "times the instructions"], [
        [words, between(figure(rounds, "gatehouse", key), 2)] for key, words in [
            ("pick_growth", "the dearest pick, 1,000 endpoints against 2"),
            ("route_growth", "finding a route, 100,000 against 10")]])


def footnotes(result: dict) -> list[str]:
    notes = []
    if result.get("on"):
        off = result["not_built"]
        more = f" Not built yet: {', '.join(off)}." if off else ""
        notes.append(f"On in Gatehouse: {', '.join(result['on'])}.{more}")
    if "rate_asked" in result:
        notes.append(f"{result['rate_asked']:,} requests a second over "
                     f"{result['connections']:,} connections, timed from when each was due."
                     + generator(result))
    busy = [name_of(name) for name in names(result["rounds"])
            if (found := figure(result["rounds"], name, "load_core_busy"))
            and found.median >= SATURATED]
    if busy:
        notes.append(f"The core of load and origin was the limit for {', '.join(busy)}: what they "
                     "cost is right, their rates and latencies are of that core.")
    shares = [one[name]["disturbed"] for one in result["rounds"] for name in one
              if "disturbed" in one[name]]
    if shares and (share := statistics.median(shares)) > DISTURBED:
        notes.append(f"The machine was not quiet: other programs had {share:.0%} of the proxy's "
                     "core.")
    for name, reason in result.get("absent", {}).items():
        notes.append(f"{name_of(name)} was not there: {reason}.")
    return [line for note in notes for line in ("", note)]


def said(one: Verdict) -> str:
    digits = digits_of(one.target)
    return f"{limit(one.target)}: {between(one.found, digits)}, **{one.word}**"


def generator(result: dict) -> str:
    """What is to be said of the load at a fixed rate."""
    rounds, asked, half = result["rounds"], result["rate_asked"], result.get("half_load", 0)
    said = ""
    if half > asked:
        said += f" Half load would be {half:,}; more than was asked, load and origin cannot give " \
            "on their core without queues of their own."
    late = [name_of(name) for name in names(rounds)
            if figure(rounds, name, "rate").median < RATE_KEPT * asked]
    return said + (f" The rate was not kept by {', '.join(late)}." if late else "")


def digits_of(target: Target) -> int:
    return 2 if target.others or target.figure.endswith("_growth") else 0


def limit(target: Target) -> str:
    if not target.others:
        aim = f" (aim {target.aim:,.0f})" if target.aim else ""
        return f"at most {target.limit:,.{digits_of(target)}f} {UNITS[target.figure]}{aim}"
    best = " and ".join(name_of(name) for name in target.others)
    best = f"the better of {best}" if len(target.others) > 1 else best
    aim = f" (aim {target.aim:.2f})" if target.aim else ""
    return f"{WORDS[target.figure]} at most {target.limit:.2f} x {best}{aim}"


WORDS = {"cpu_us": "CPU a request", "added_p99": "p99 added"}
UNITS = {"idle_bytes": "resident bytes a connection", "instructions": "user instructions, plain",
         "instructions_everything": "user instructions, everything on",
         "pick_growth": "times the instructions of a pick, 1,000 endpoints against 2",
         "route_growth": "times those of finding a route, 100,000 against 10"}


def verdict_table(found: list[Verdict]) -> list[str]:
    rows = []
    for one in found:
        digits = digits_of(one.target)
        rows.append([WORKLOADS[one.target.workload].title, limit(one.target),
                     between(one.found, digits), f"**{one.word}**"])
    return markdown(["Work", "Target", "Found", ""], rows)


def count(found: list[Verdict], word: str) -> int:
    return sum(one.word == word for one in found)


def sum_of(found: list[Verdict]) -> str:
    met, noise, unknown = (count(found, word) for word in (MET, NOISE, UNKNOWN))
    missed = len(found) - met - noise - unknown
    return (f"{met} of {len(found)} targets met, {noise} within noise, {missed} missed, "
            f"{unknown} not measured")


def title(workload: Workload, result: dict) -> str:
    rounds = len(result["rounds"])
    seconds = result.get("rounds_of_seconds")
    timed = workload.kind in ("load", "pace", "reload")
    length = f" of {seconds:g} s" if seconds and timed else ""
    plural = "s" if rounds != 1 else ""
    held = f"{result['held']:,} of them, " if "held" in result else ""
    return f"{workload.title}: {held}{rounds} round{plural}{length}"
