# SPDX-License-Identifier: Apache-2.0
"""Help, completion, arguments and exit codes of the two programs."""

import os
import re
import subprocess
import unittest

from harness import CACHED, NO_ACCESS, NOT_REACHED, NOT_THERE, OK, USAGE, Scratch, free_ports

COMMANDS = ["cluster", "cluster up", "cluster down", "cluster status", "plan", "run", "fetch", "hold", "release", "list",
            "drop", "status", "completion"]


class Help(Scratch):
    def test_every_command_has_help(self):
        top = self.ok("--help").text
        for command in COMMANDS:
            with self.subTest(command):
                text = self.ok(*command.split(), "--help").text
                self.assertIn("--help", text)
                self.assertIn(command.split()[-1], top + text)
        for code in range(6):
            self.assertRegex(top, rf"\b{code} \w+")
        for flag in ("--json", "--config", "--set", "--quiet", "--s3-endpoint"):
            self.assertIn(flag, top)

    def test_help_of_the_daemon(self):
        done = self.run_program(CACHED, "--help")
        self.assertEqual(done.code, OK)
        for piece in ("--config", "--set", "--check-config", "Exit codes", "SIGTERM"):
            self.assertIn(piece, done.text)

    def test_completion_is_a_script_that_knows_the_commands(self):
        script = self.write("completion.bash", self.ok("completion").out)

        def complete(*words):
            ask = (f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _holdfast; "
                   'echo "${COMPREPLY[@]}"')
            return subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, timeout=20).stdout.split()

        self.assertLessEqual({c.split()[0] for c in COMMANDS}, set(complete("holdfast", '""')))
        self.assertEqual(complete("holdfast", "sta"), ["status"])
        self.assertLessEqual({"up", "down", "status"}, set(complete("holdfast", "cluster", '""')))
        self.assertLessEqual({"--epochs", "--seed", "--no-verify"}, set(complete("holdfast", "run", "--")))


class Arguments(Scratch):
    def test_wrong_arguments(self):
        for words in ([], ["no-such-command"], ["run"], ["run", "list", "--epochs", "0"], ["fetch"], ["hold"],
                      ["cluster"], ["cluster", "up", "--nodes", "0"], ["release"], ["--no-such-flag", "status"]):
            with self.subTest(words):
                done = self.holdfast(*words)
                self.assertEqual(done.code, USAGE, done)
                self.assertIn("--help", done.said, done)
        self.assert_says(self.holdfast("drop"), USAGE, "names or --prefix")
        self.assert_says(self.holdfast("release", "xyz"), USAGE, '"xyz" is no job', "16 digits")
        self.assert_says(self.holdfast("hold", self.dir, "--for", "ages"), USAGE, "--for", "ages", "min, h or d")
        self.assert_says(self.holdfast("cluster", "up", "--memory", "much", "--dir", f"{self.dir}/c"), USAGE,
                         "node-1.log", "memory.limit", "much")

    def test_what_is_not_there(self):
        empty = ["--config", self.write("alone.toml", "")]
        self.assert_says(self.holdfast("run", "no-such-list"), NOT_THERE, "no-such-list", "No such file")
        self.assert_says(self.holdfast(*empty, "run", f"{self.dir}/none/"), NOT_THERE, f"{self.dir}/none")
        self.assert_says(self.holdfast(*empty, "list", f"{self.dir}/none"), NOT_THERE, f"{self.dir}/none")
        self.assert_says(self.holdfast(*empty, "fetch", f"{self.dir}/none"), NOT_THERE, f"{self.dir}/none")
        self.assert_says(self.holdfast("status"), NOT_THERE, "holdfast cluster up", "--config")
        self.assert_says(self.holdfast("cluster", "down"), NOT_THERE, "no cluster in", "cluster up")
        self.assert_says(self.holdfast("cluster", "status"), NOT_THERE, "no cluster in")
        self.assert_says(self.holdfast("--config", "no.toml", "status"), NOT_THERE, "no.toml", "No such file")

    def test_output_that_cannot_be_written(self):
        empty = ["--config", self.write("alone.toml", "")]
        path = self.write("object", b"bytes" * 100_000)
        for words in (["fetch", path], ["list", self.dir]):
            with self.subTest(words), open("/dev/full", "wb") as full:
                done = subprocess.run([os.environ["E2E_HOLDFAST"], *empty, *words], stdout=full, stderr=subprocess.PIPE,
                                      env=self.environment, timeout=30)
                self.assertNotEqual(done.returncode, OK)
                self.assertIn(b"No space left", done.stderr)
        inside = self.holdfast(*empty, "fetch", path, "-o", path + "/below")
        self.assertNotEqual(inside.code, OK)
        self.assertRegex(inside.said, "cannot write .*below.*: Not a directory")


if __name__ == "__main__":
    unittest.main()
