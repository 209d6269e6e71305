# SPDX-License-Identifier: Apache-2.0
"""Help, completion, arguments and exit codes of the two programs."""

import os
import re
import signal
import subprocess
import unittest

from harness import CACHED, NO_ACCESS, NOT_REACHED, NOT_THERE, OK, USAGE, WRONG, Scratch, wait_for

COMMANDS = ["cluster", "cluster up", "cluster down", "cluster status", "plan", "run", "fetch", "hold", "release", "list",
            "drop", "snapshot", "snapshot collect", "snapshot show", "snapshot find", "snapshot diff", "snapshot verify",
            "snapshot curve", "snapshot period", "status", "completion"]


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
        self.assertLessEqual({"--log", "--every", "--keep-for"}, set(complete("holdfast", "snapshot", "collect", "--")))
        self.assertLessEqual({"--epochs", "--seed", "--no-verify"}, set(complete("holdfast", "run", "--")))


class Arguments(Scratch):
    def test_wrong_arguments(self):
        for words in ([], ["no-such-command"], ["run"], ["run", "list", "--epochs", "0"], ["fetch"], ["hold"],
                      ["cluster"], ["cluster", "up", "--nodes", "0"], ["release"], ["--no-such-flag", "status"]):
            with self.subTest(words):
                done = self.holdfast(*words)
                self.assertEqual(done.code, USAGE, done)
                self.assertIn("--help", done.said, done)
        for words in (["no-such-command"], ["cluster", "no-such-command"]):
            self.assert_says(self.holdfast(*words), USAGE, '"no-such-command"', "--help")
        for seed in ("-1", "18446744073709551616", "1e3", "first"):
            self.assertIn(seed, self.holdfast("run", self.dir, "--seed", seed).said)
        self.assert_says(self.holdfast("hold", self.dir, "--for", "1ms"), USAGE, "--for", "1 s")
        self.assert_says(self.holdfast("--config", self.dir, "status"), USAGE, self.dir, "is a directory")
        self.assert_says(self.holdfast("drop"), USAGE, "names or --prefix")
        for option in ("--kept", "--hits"):
            done = self.holdfast("components", "--write-rate", "1MB/s", option, "nan")
            self.assertEqual(done.code, USAGE, done)
            self.assertIn(f"{option}: nan is not a number", done.said)
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
        self.assert_says(self.holdfast("--config", "no.toml", "status"), USAGE, "no.toml", "No such file")

    def test_messages_have_one_line_whatever_a_name_has(self):
        done = self.holdfast("fetch", f"{self.dir}/two\nlines\x1b[31m")
        self.assert_says(done, NOT_THERE, r"two\\x0alines\\x1b\[31m")
        self.assertEqual(done.said.count("\n"), 1, done)

    def test_places_that_are_gone_or_closed(self):
        """No working directory, a TMPDIR that is none, a runtime directory that this user may not enter."""
        gone = ["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh"]
        self.assert_says(self.holdfast("fetch", "relative", prefix=gone), USAGE, "relative")
        away = ["env", "-u", "XDG_RUNTIME_DIR", f"TMPDIR={self.dir}/none"]
        self.assertIn(self.holdfast("status", prefix=away).code, (NOT_THERE, NOT_REACHED))
        closed = os.path.join(self.dir, "closed")
        os.makedirs(closed)
        os.chmod(closed, 0)
        other = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
        self.assert_says(self.holdfast("status", prefix=other, environment={"XDG_RUNTIME_DIR": closed}), NOT_THERE,
                         "cluster up")
        for command in ("up", "down", "status"):
            self.assert_says(self.holdfast("cluster", command, "--dir", f"{closed}/c", prefix=other), NO_ACCESS,
                             f"{closed}/c", "Permission denied", "your own")
        self.assert_says(self.holdfast("run", f"{closed}/list", prefix=other), NO_ACCESS, f"{closed}/list")

    def test_output_that_cannot_be_written(self):
        empty = ["--config", self.write("alone.toml", "")]
        path = self.write("object", b"bytes" * 100_000)
        for words in (["fetch", path], ["list", self.dir]):
            with self.subTest(words), open("/dev/full", "wb") as full:
                done = subprocess.run([os.environ["E2E_HOLDFAST"], *empty, *words], stdout=full, stderr=subprocess.PIPE,
                                      env=self.environment, timeout=30)
                self.assertEqual(done.returncode, WRONG)
                self.assertIn(b"No space left", done.stderr)
        inside = self.holdfast(*empty, "fetch", path, "-o", path + "/below")
        self.assertEqual(inside.code, WRONG, "neither a node nor the far store is to blame")
        self.assertRegex(inside.said, "cannot write .*below.*: Not a directory")


class LocalCluster(Scratch):
    def up(self, directory, *options, nodes=1, memory="64MiB"):
        self.addCleanup(self.holdfast, "cluster", "down", "--dir", directory)
        return self.holdfast("cluster", "up", "--dir", directory, "--nodes", f"{nodes}", "--memory", memory, *options)

    def test_a_directory_with_other_files_stays_as_it_is(self):
        file = self.write("mine/chapters/one", "of years of work")
        self.assert_says(self.up(f"{self.dir}/mine"), USAGE, "--dir", f"{self.dir}/mine", "chapters", "new directory")
        self.assert_says(self.up("."), USAGE, "--dir", "mine")
        self.assertEqual(self.read(file), b"of years of work")
        self.assert_says(self.up(""), USAGE, "--dir")

    def test_one_directory_has_many_names(self):
        made = self.up("./a/../c \"of\" mine/")
        self.assertEqual(made.code, OK, made)
        self.assertIn(f"{self.dir}/c \"of\" mine/client.toml", made.text)
        for name in (f"{self.dir}/c \"of\" mine", "c \"of\" mine"):
            self.assert_says(self.up(name), NOT_REACHED, "runs in .* already")
        self.ok("cluster", "down", "--dir", "c \"of\" mine")

    def test_what_was_killed_goes_with_the_next_start(self):
        directory = f"{self.dir}/c"
        self.assertEqual(self.up(directory, nodes=2).code, OK)
        for node in self.ok("--json", "cluster", "status", "--dir", directory).json():
            os.kill(node["pid"], signal.SIGKILL)
        states = [f"/dev/shm/holdfast{directory.replace('/', '-')}-{node}" for node in (1, 2)]
        wait_for(lambda: self.holdfast("cluster", "status", "--dir", directory).text.count("not running") == 2, "the end")
        self.assertEqual([os.path.exists(state) for state in states], [True, True])
        self.assertEqual(self.up(directory).code, OK)
        self.assertEqual([os.path.exists(state) for state in states], [True, False])
        self.ok("cluster", "down", "--dir", directory)
        self.assertEqual([os.path.exists(state) for state in states], [False, False])

    def test_two_at_once(self):
        """One of them starts the cluster, and what it started can be stopped."""
        directory = f"{self.dir}/c"
        words = [os.environ["E2E_HOLDFAST"], "cluster", "up", "--dir", directory, "--nodes", "1", "--memory", "64MiB"]
        both = [subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=self.environment) for _ in "ab"]
        said = [process.communicate(timeout=60)[1].decode() for process in both]
        self.addCleanup(self.holdfast, "cluster", "down", "--dir", directory)
        self.assertEqual(sorted(process.returncode for process in both), [OK, NOT_REACHED], said)
        self.assertRegex("".join(said), "at work in|runs in")
        self.assertEqual(len(self.ok("--json", "cluster", "status", "--dir", directory).json()), 1)
        self.ok("cluster", "down", "--dir", directory)

    def test_more_memory_than_there_is_for_all_and_a_node_that_is_killed(self):
        self.assert_says(self.up(f"{self.dir}/c", nodes=64, memory="1TiB"), USAGE, "64 nodes", "1TiB",
                         "lower --memory or --nodes")
        program = self.write("program", "#!/bin/sh\nkill -9 $$\n")
        os.chmod(program, 0o755)
        self.assert_says(self.up(f"{self.dir}/c", "--cached", program), NOT_REACHED, "node 1", "signal 9", "node-1.log")


if __name__ == "__main__":
    unittest.main()
