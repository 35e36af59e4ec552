"""The trials' judgement: what fails is counted once, and what misses a target is said."""

import copy
import importlib.machinery
import importlib.util
import pathlib
import sys
import types
import unittest

BENCH = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(BENCH))

import trials


def script(name: str) -> types.ModuleType:
    """A script without an ending in its name, as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(BENCH / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


class Said:
    """A generator that has found this."""

    def __init__(self, found: dict):
        self.found = found

    def run(self, _line: list[str], _seconds: float) -> dict:
        return self.found


PACED = {"answered": 90, "unsent": 4, "served": 80, "seconds": 1.0, "own_cpu_share": 0.1,
         "p50": 1000.0, "p99": 2000.0, "p999": 3000.0, "max": 4000.0, "served_p50": 1.0,
         "served_p99": 2.0, "served_max": 3.0,
         "errors": {"broken": 5, "status": 10, "malformed": 1}}


class Counts(unittest.TestCase):
    def test_each_request_is_served_or_has_failed(self):
        found = trials.figures(Said(PACED), [], 1.0)
        self.assertEqual((found["asked"], found["served"], found["failed"]), (100, 80, 20))
        self.assertEqual(found["p99"], 2.0)
        self.assertEqual(trials.share(found), "20.00 %")


class Changes(unittest.TestCase):
    def setUp(self):
        self.changes = script("changes")
        self.good = {
            "h1": {"failed": {}}, "h2": {"failed": [], "unanswered": 0},
            "sockets": {"wrong": 0, "alive": self.changes.SOCKETS, "refused": [], "drops": []}}

    def misses(self, name: str, **wrong) -> list[str]:
        one = copy.deepcopy(self.good)
        for of, more in wrong.items():
            one[of].update(more)
        return self.changes.misses(name, one)

    def test_nothing_that_failed_is_passed_over(self):
        self.assertEqual(self.misses("reload"), [])
        for wrong in [{"h1": {"failed": {"reset": 1}}}, {"h2": {"failed": ["reset 2"]}},
                      {"h2": {"unanswered": 1}}, {"sockets": {"wrong": 1}},
                      {"sockets": {"alive": 1}}, {"sockets": {"refused": ["OSError"]}}]:
            self.assertEqual(len(self.misses("reload", **wrong)), 1, wrong)

    def test_a_socket_may_be_dropped_by_an_upgrade_alone_and_then_at_the_end_of_the_drain(self):
        def dropped(after):
            return {"sockets": {"drops": [{"at": 1.0, "code": None, "after": after}]}}
        in_time = self.changes.DRAIN_SECONDS + 0.5
        self.assertEqual(len(self.misses("reload", **dropped(in_time))), 1)
        self.assertEqual(self.misses("upgrade", **dropped(in_time)), [])
        for after in (0.1, self.changes.DRAIN_SECONDS + 5, None):
            self.assertEqual(len(self.misses("upgrade", **dropped(after))), 1, after)


class Overload(unittest.TestCase):
    def test_each_target_that_is_missed_is_said(self):
        overload = script("overload")
        good = {"overload": {"served": 40_000, "seconds": 10.0, "served_p99": 150.0},
                "before": {"p99": 20.0}, "after": {"p99": 21.0, "failed": 0},
                "peak_bytes": 10, "bound_bytes": 11}
        self.assertEqual(overload.misses(good), [])
        for of, wrong in [("overload", {"served": 35_000}), ("overload", {"served_p99": 300.0}),
                          ("after", {"failed": 1}), ("after", {"p99": 41.0}),
                          (None, {"peak_bytes": 11})]:
            bad = copy.deepcopy(good)
            (bad[of] if of else bad).update(wrong)
            self.assertEqual(len(overload.misses(bad)), 1, wrong)


class Slow(unittest.TestCase):
    def test_whatever_another_client_notices_is_said(self):
        slow = script("slow")
        good = {"alone": {"p99": 1.0, "direct": {"p99": 0.5}},
                "coming": {"max": 99.0, "failed": 0, "direct": {"max": 9.0}},
                "beside": {"p99": 2.0, "failed": 0, "direct": {"p99": 1.0}}, "senders_left": 0}
        self.assertEqual(slow.misses(good), [])
        for of, wrong in [("beside", {"failed": 1}), ("coming", {"failed": 1}),
                          ("coming", {"max": 300.0}), ("beside", {"p99": 7.0}),
                          (None, {"senders_left": 3})]:
            bad = copy.deepcopy(good)
            (bad[of] if of else bad).update(wrong)
            self.assertEqual(len(slow.misses(bad)), 1, wrong)


if __name__ == "__main__":
    unittest.main()
