"""A comparison that measured error pages fails, and says so; and it leaves nothing running."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
COMPARE = HERE.parent / "compare"
LIMIT_SECONDS = 120
# What the comparison looks at before it measures: one answer.
LOOKED_AT = 1


class Comparison(unittest.TestCase):
    def compare(self, good: int, wrong: str) -> subprocess.CompletedProcess:
        """A short comparison with a fake that errs after so many right answers."""
        with tempfile.TemporaryDirectory(prefix="selftest-") as folder:
            fake = f"{sys.executable} {HERE / 'fake.py'} {{port}} {{origin}} {folder} {good} {wrong}"
            result = subprocess.run(
                [COMPARE, "--no-install", "--only", "1KiB-64", "--peers", "fake", "--peer",
                 f"fake={fake}", "--rounds", "1", "--seconds", "0.3"],
                capture_output=True, text=True, timeout=LIMIT_SECONDS)
            pid = int((pathlib.Path(folder) / "pid").read_text())
        self.assertFalse(os.path.exists(f"/proc/{pid}"), "the fake is still running")
        return result

    def fails(self, good: int, wrong: str, words: str) -> None:
        result = self.compare(good, wrong)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn("FAILED: 1KiB-64: fake: ", result.stdout)
        self.assertIn(words, result.stdout)
        self.assertNotIn("CPU us/request", result.stdout)

    def test_a_server_that_answers_rightly_is_measured(self):
        result = self.compare(0, "right")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("| fake |", result.stdout)

    def test_an_error_page_is_not_measured(self):
        self.fails(0, "502", "status 502 and 4 bytes, not 200 and 1024")

    def test_a_short_body_is_not_measured(self):
        self.fails(0, "short", "status 200 and 512 bytes, not 200 and 1024")

    def test_another_body_of_the_same_length_is_not_measured(self):
        self.fails(0, "other", "the right status and length, and another content")

    def test_an_error_page_under_load_is_not_measured(self):
        self.fails(LOOKED_AT, "502", "the first: status 502, not 200")

    def test_a_short_body_under_load_is_not_measured(self):
        self.fails(LOOKED_AT, "short", "the first: a body of 512 bytes, not 1024")

    def test_a_cut_body_under_load_is_not_measured(self):
        self.fails(LOOKED_AT, "cut", "the first: a body of 512 bytes, not 1024")

    def test_no_answer_under_load_is_not_measured(self):
        self.fails(LOOKED_AT, "silent", "the first: no answer")

    def test_one_wrong_answer_among_many_is_enough(self):
        # The first goes to the look before, and the load begins with right ones.
        self.fails(LOOKED_AT + 300, "502", "the first: status 502, not 200")


if __name__ == "__main__":
    unittest.main()
