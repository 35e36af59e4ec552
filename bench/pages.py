"""Makes docs/benchmarks.md, its plots, and the README's table from the newest results.

No figure and no verdict stands in these but what is computed here.
"""

import json
import pathlib
import re

import plots
import tables
from figures import Spread, figure, names, spread, value, verdicts, without_renamed
from process import ROOT, Trouble
from tables import middle, name_of
from workloads import WORKLOADS, Workload

RESULTS = ROOT / "bench/results"
PAGE, PLOTS, README = "docs/benchmarks.md", "docs/bench", "README.md"
BEGIN, END = "<!-- bench/docs: begin -->", "<!-- bench/docs: end -->"
RESULT_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})-(.+)\.json")

# What a plot shows of each kind of workload: figure, unit, factor, digits, its darker part.
DRAWN = {
    "load": ("cpu_us", "CPU microseconds a request", 1.0, 1, "user_us"),
    "idle": ("idle_bytes", "resident bytes a connection", 1.0, 0, None),
    "pace": ("added_p99", "milliseconds added at the 99th percentile", 1e-3, 2, None),
    "instructions": ("instructions", "user instructions a request", 1.0, 0, None),
}


def newest(folder: pathlib.Path = RESULTS) -> dict[str, dict]:
    """The last result of each workload, in the order of the workloads."""
    found: dict[str, tuple[str, pathlib.Path]] = {}
    for path in sorted(folder.glob("*.json")):
        parts = RESULT_NAME.fullmatch(path.name)
        if not parts or parts.group(2) not in WORKLOADS:
            raise Trouble(f"{path.name}: no result of a workload there is; remove it")
        date, name = parts.groups()
        if name not in found or date > found[name][0]:
            found[name] = (date, path)
    return {name: without_renamed(json.loads(found[name][1].read_text()))
            for name in WORKLOADS if name in found}


def pages(results: dict[str, dict]) -> dict[str, str]:
    """Every file that is made, by its path."""
    made = {PAGE: page(results), README: readme(results)}
    for name, result in results.items():
        drawing = drawn(result)
        if drawing:
            made[f"{PLOTS}/{name}.svg"] = drawing
    return made


def differing() -> dict[str, str | None]:
    """What is to be written, by its path; nothing where it is to be removed."""
    made: dict[str, str | None] = dict(pages(newest()))
    for path in sorted((ROOT / PLOTS).glob("*.svg")):
        made.setdefault(str(path.relative_to(ROOT)), None)
    return {path: text for path, text in made.items() if there(path) != text}


def there(path: str) -> str | None:
    file = ROOT / path
    return file.read_text() if file.exists() else None


def write() -> list[str]:
    """Writes what differs, and says what that was."""
    said = []
    for path, text in differing().items():
        file = ROOT / path
        if text is None:
            file.unlink()
            said.append(f"{path}: removed")
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        said.append(path)
    return said


def page(results: dict[str, dict]) -> str:
    found = verdicts(results)
    lines = [
        "# Benchmarks", "",
        "<!-- Made by bench/docs from bench/results; do not edit. To make it again: bench/docs -->",
        "", "How this is measured, and how to repeat it: [benchmarking.md](benchmarking.md).", "",
        *measured_on(results), "", "## Targets", "",
        f"The project's own, for medians of ratios within rounds: {tables.sum_of(found)}. In "
        "brackets the middle half of the rounds: a target is met or missed where all of it is, and "
        "`within noise` otherwise.", "", *tables.verdict_table(found), ""]
    for name, workload in WORKLOADS.items():
        lines += section(workload, results.get(name))
    return "\n".join(lines).rstrip() + "\n"


def measured_on(results: dict[str, dict]) -> list[str]:
    machines = {(one["machine"]["processor"], one["machine"]["cores"], one["machine"]["kernel"])
                for one in results.values()}
    where = "; ".join(f"{cores} cores of {processor}, {kernel}"
                      for processor, cores, kernel in sorted(machines))
    versions = {}
    for result in results.values():
        for name, version in result["versions"].items():
            if name in tables.NAMES and name != "relay":
                versions.setdefault(name, set()).add(version.removeprefix("gatehouse "))
    said = ", ".join(f"{name_of(name)} {' and '.join(sorted(versions[name]))}"
                     for name in tables.NAMES if name in versions)
    return [f"Machine: {where or 'none yet'}.", "", f"Versions: {said or 'none yet'}."]


def section(workload: Workload, result: dict | None) -> list[str]:
    if not result:
        return [f"## {workload.title}", "", "Not measured yet.", ""]
    picture = [f"![{DRAWN[workload.kind][1]}](bench/{workload.name}.svg)", ""] \
        if workload.kind in DRAWN else []
    commit = result.get("commit", "unknown")
    return [f"## {tables.title(workload, result)}", "",
            f"{result['date'][:10]}, commit {commit}.", "", *picture, *tables.table(result), ""]


def drawn(result: dict) -> str | None:
    workload = WORKLOADS[result["workload"]]
    if workload.kind not in DRAWN:
        return None
    key, unit, factor, digits, part = DRAWN[workload.kind]
    rounds = result["rounds"]
    bars = []
    for name in names(rounds):
        found = spread(known for one in rounds if (known := value(one, name, key)) is not None)
        if found is None or (name == "direct" and key.startswith("added_")):
            continue
        scaled = Spread(found.median * factor, found.low * factor, found.high * factor)
        dark = figure(rounds, name, part) if part else None
        bars.append(plots.Bar(name_of(name), scaled, dark.median if dark else None,
                              middle(found, digits, factor), name == "gatehouse"))
    bars.sort(key=lambda bar: bar.whole.median)
    return plots.plot(workload.title, unit, bars, "user" if part else None)


# The rows of the README: workload, what is shown of it, digits.
ROWS = [("1KiB-64", "cpu_us", 1), ("1KiB-1024", "cpu_us", 1), ("everything", "cpu_us", 1),
        ("64KiB", "cpu_us", 1), ("1MiB", "cpu_us", 1), ("close", "cpu_us", 1),
        ("hosts", "cpu_us", 1)]
SHOWN = ["gatehouse", "nginx", "haproxy", "pingora", "go", "caddy", "relay"]


def readme(results: dict[str, dict]) -> str:
    """The README with its table made anew between the markers."""
    text = (ROOT / README).read_text()
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise Trouble(f"{README}: the markers {BEGIN} and {END} are not there")
    return before + begin + "\n" + "\n".join(readme_table(results)) + "\n" + end + after


def readme_table(results: dict[str, dict]) -> list[str]:
    rows = []
    for name, key, digits in ROWS:
        if name not in results:
            continue
        rounds = results[name]["rounds"]
        cells = [middle(figure(rounds, server, key), digits) for server in SHOWN]
        # The relay does less; of those that do the same the best is bold.
        best = min((found.median, at) for at, server in enumerate(SHOWN) if server != "relay"
                   and (found := figure(rounds, server, key)))[1]
        cells[best] = f"**{cells[best]}**"
        rows.append([WORKLOADS[name].title, *cells])
    columns = [at for at in range(len(SHOWN) + 1) if at == 0 or any(row[at] != "-" for row in rows)]
    head = ["CPU us/request", *(name_of(name) for name in SHOWN)]
    return tables.markdown([head[at] for at in columns],
                           [[row[at] for at in columns] for row in rows])
