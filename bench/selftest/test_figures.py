"""Ratios are taken within rounds, verdicts say what the middle half of them says, and the documents
are what the committed results give."""

import copy
import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import figures  # noqa: E402
import pages  # noqa: E402
from figures import MET, MISSED, NOISE, UNKNOWN, ratio, spread, verdict  # noqa: E402
from peers import Peers  # noqa: E402
from process import Trouble  # noqa: E402
from workloads import TARGETS, WORKLOADS, Target  # noqa: E402

# What repeats within 1 %: one round is enough.
COUNTED = ("instructions", "growth")
TARGET = Target("1KiB-64", "cpu_us", 0.9, ("nginx", "haproxy"))


def rounds(*rows: tuple[float, float, float]) -> list[dict]:
    names = ("gatehouse", "nginx", "haproxy")
    return [{name: {"cpu_us": cost} for name, cost in zip(names, row)} for row in rows]


class Figures(unittest.TestCase):
    def test_a_ratio_is_taken_within_each_round_by_the_best_of_the_others(self):
        # The second round was on a machine at half its speed; the ratio is the same.
        found = ratio(rounds((8, 10, 11), (16, 22, 20)), "gatehouse", ("nginx", "haproxy"), "cpu_us")
        self.assertEqual((found.low, found.median, found.high), (0.8, 0.8, 0.8))

    def test_a_round_without_one_of_them_does_not_count(self):
        known = rounds((8, 10, 10), (9, 10, 10))
        del known[1]["nginx"]
        self.assertEqual(ratio(known, "gatehouse", ("nginx", "haproxy"), "cpu_us").high, 0.8)
        self.assertIsNone(ratio(known[1:], "gatehouse", ("nginx",), "cpu_us"))

    def test_a_verdict_needs_the_middle_half(self):
        def word(*costs: float) -> str:
            known = rounds(*((cost, 10, 10) for cost in costs))
            return verdict(TARGET, {"rounds": known}).word
        self.assertEqual(word(8, 8.5, 8.9), MET)
        self.assertEqual(word(9.1, 9.5, 9.9), MISSED)
        self.assertEqual(word(8, 8.9, 9.9), NOISE)
        self.assertEqual(verdict(TARGET, None).word, UNKNOWN)

    def test_what_a_proxy_adds_is_taken_from_its_own_round(self):
        known = [{"direct": {"p99": 50_000}, "gatehouse": {"p99": 52_000}, "nginx": {"p99": 54_000}},
                 {"direct": {"p99": 60_000}, "gatehouse": {"p99": 62_000}, "nginx": {"p99": 64_000}}]
        found = ratio(known, "gatehouse", ("nginx",), "added_p99")
        self.assertEqual((found.low, found.high), (0.5, 0.5))
        # Less than nothing is added on a machine that was busy while it was asked directly.
        known[0]["nginx"]["p99"] = known[0]["gatehouse"]["p99"] = 49_000
        self.assertEqual(ratio(known[:1], "gatehouse", ("nginx",), "added_p99").median, 1)

    def test_the_middle_half_is_of_the_rounds(self):
        found = spread([1, 2, 3, 4, 100])
        self.assertEqual((found.low, found.median, found.high), (2, 3, 4))

    def test_every_target_is_of_a_workload_that_measures_it(self):
        for target in TARGETS:
            workload = WORKLOADS[target.workload]
            for name in (target.whose, *target.others):
                self.assertIn(name, workload.peers, target)
            self.assertTrue(workload.rounds >= 7 or workload.kind in COUNTED, target)


class Missing(unittest.TestCase):
    def test_a_peer_that_cannot_be_had_is_named_with_the_reason(self):
        peers = Peers(pathlib.Path("rig"), None, {})

        def fail():
            raise Trouble("go is not installed")
        peers.makers["go"] = fail
        self.assertIsNone(peers.find("go"))
        self.assertEqual(peers.absent, {"go": "go is not installed"})


class Documents(unittest.TestCase):
    def test_the_documents_are_what_the_results_give(self):
        result = subprocess.run([HERE.parent / "docs", "--check"], capture_output=True, text=True,
                                timeout=60)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_another_figure_gives_other_documents(self):
        results = pages.newest()
        changed = copy.deepcopy(results)
        name = next(name for name in changed if WORKLOADS[name].kind == "load")
        for one in changed[name]["rounds"]:
            one["gatehouse"]["cpu_us"] *= 1.1
        before, after = pages.pages(results), pages.pages(changed)
        for path in (pages.PAGE, pages.README, f"{pages.PLOTS}/{name}.svg"):
            self.assertNotEqual(before[path], after[path], path)

    def test_a_figure_that_was_renamed_stands_for_the_setting_that_serves_best(self):
        result = {"rounds": [{"nginx": {"cpu_us": 9}, "nginx-unbuffered": {"cpu_us": 5}}]}
        known = figures.without_renamed(result)["rounds"]
        self.assertEqual(known, [{"nginx": {"cpu_us": 5}}])


if __name__ == "__main__":
    unittest.main()
