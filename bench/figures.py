"""What rounds come to: medians, ratios within rounds, verdicts. Nothing here measures."""

import dataclasses
import statistics
from collections.abc import Iterable

from workloads import TARGETS, Target

# Another name for the same thing in results of before.
RENAMED = {"nginx-unbuffered": "nginx", "haproxy-splice": "haproxy"}
# Added microseconds below this cannot be told from none, by a generator that is woken by a timer.
RESOLUTION = 50.0
MET, MISSED, NOISE, UNKNOWN = "met", "missed", "within noise", "not measured"


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median with the middle half around it."""

    median: float
    low: float
    high: float


Round = dict[str, dict]


def spread(values: Iterable[float]) -> Spread | None:
    values = sorted(values)
    if not values:
        return None
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def names(rounds: list[Round]) -> list[str]:
    """Who was measured, in the order of their first round."""
    return list(dict.fromkeys(name for one in rounds for name in one))


def figure(rounds: list[Round], name: str, key: str) -> Spread | None:
    return spread(one[name][key] for one in rounds if name in one and key in one[name])


def value(one: Round, name: str, key: str) -> float | None:
    """A figure of one round; `added_*` is what a proxy adds to its origin's own in that round."""
    if name not in one:
        return None
    if not key.startswith("added_"):
        return one[name].get(key)
    plain = key.removeprefix("added_")
    direct = one.get("direct", {}).get(plain)
    return None if direct is None else one[name][plain] - direct


def ratio(rounds: list[Round], name: str, others: tuple[str, ...], key: str) -> Spread | None:
    """A figure of one by the best of others, taken within each round that has them all."""
    found = []
    for one in rounds:
        mine = value(one, name, key)
        theirs = [value(one, other, key) for other in others]
        if mine is not None and theirs and None not in theirs:
            least = RESOLUTION if key.startswith("added_") else 1e-9
            found.append(max(mine, least) / max(min(theirs), least))
    return spread(found)


def without_renamed(result: dict) -> dict:
    """Where one was measured twice, the setting that serves it best stands for it."""
    rounds = []
    for one in result["rounds"]:
        best = {RENAMED[name]: figures for name, figures in one.items() if name in RENAMED}
        rounds.append({name: best.get(name, figures) for name, figures in one.items()
                       if name not in RENAMED})
    return result | {"rounds": rounds}


@dataclasses.dataclass(frozen=True)
class Verdict:
    target: Target
    found: Spread | None
    word: str


def verdict(target: Target, result: dict | None) -> Verdict:
    """`met` and `missed` where the middle half of the rounds agrees."""
    found = None
    if result:
        rounds = result["rounds"]
        found = ratio(rounds, target.whose, target.others, target.figure) if target.others \
            else spread(known for one in rounds
                        if (known := value(one, target.whose, target.figure)) is not None)
    if found is None:
        return Verdict(target, None, UNKNOWN)
    if found.high <= target.limit:
        return Verdict(target, found, MET)
    return Verdict(target, found, MISSED if found.low > target.limit else NOISE)


def verdicts(results: dict[str, dict]) -> list[Verdict]:
    return [verdict(target, results.get(target.workload)) for target in TARGETS]
