"""What h2load says is read rightly, and answers that were not asked for are refused."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import h2load
from loads import WrongAnswers, held_to

SAID = """
finished in 1.50s, 2.00 req/s, 3.91KB/s
requests: 4 total, 4 started, 4 done, {done} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {good} 2xx, 0 3xx, 0 4xx, {bad} 5xx
traffic: 5.00KB (5120) total, 1.00KB (1024) headers (space savings 90.00%), 4.00KB ({data}) data
"""


class H2load(unittest.TestCase):
    def figures(self, good=4, failed=0, data=4096):
        text = SAID.format(done=4 - failed, failed=failed, good=good, bad=4 - failed - good,
                           data=data)
        return h2load.said(text, 4096)

    def test_right_answers_are_counted(self):
        self.assertEqual(held_to("one", self.figures())["answered"], 4)

    def test_other_answers_are_not_measured(self):
        for wrong in [{"good": 3}, {"failed": 1, "good": 3}, {"data": 4095}]:
            with self.assertRaises(WrongAnswers, msg=str(wrong)):
                held_to("one", self.figures(**wrong))

    def test_times_are_those_of_its_log(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "times"
            file.write_text("1000000\t200\t300\n1000100\t200\t100\n1500000\t200\t200\n")
            self.assertEqual(h2load.read(file), (0.5002, [100, 200, 300]))
        self.assertEqual(h2load.shares(list(range(1000))), {"p50": 500, "p99": 990, "p999": 999})


if __name__ == "__main__":
    unittest.main()
