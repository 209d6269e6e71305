# SPDX-License-Identifier: Apache-2.0
"""Nodes that die and come back while somebody reads."""

import json
import os
import random
import signal
import subprocess
import time
import unittest

from harness import HOLDFAST, OK, Scratch, wait_for


class Failures(Scratch):
    def setUp(self):
        super().setUp()
        rng = random.Random(3)
        self.files = {self.write(f"tree/{i}", content): content
                      for i, content in ((i, rng.randbytes(rng.choice([100, 20_000, 100_000]))) for i in range(400))}
        self.tree = f"{self.dir}/tree"
        self.nodes = self.cluster(3)
        self.config = ["--config", self.nodes.client]

    def begin_run(self, *options):
        """Starts a run in the background and waits until its own node holds promises to it and objects are there."""
        wait_for(lambda: not self.own_status()["jobs"], "the end of earlier jobs", 40)
        process = subprocess.Popen([HOLDFAST, *self.config, "--json", "run", self.tree, *options], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment, text=True)
        for stream in (process.stdout, process.stderr):
            self.addCleanup(stream.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_for(lambda: self.own_status()["jobs"] and self.live_objects() > 50, "loading")
        return process

    def own_status(self):
        """What the node says that is the readers' own."""
        return self.ok(*self.config, "--json", "status").json()[0]

    def live_objects(self):
        done = self.holdfast(*self.config, "--json", "status")
        return sum(node.get("memory", {}).get("live_objects", 0) for node in done.json())

    def dropped_objects(self):
        return self.own_status()["memory"]["dropped_objects"]

    def finish(self, process):
        out, err = process.communicate(timeout=90)
        self.assertEqual(process.returncode, OK, out + err)
        return out, err

    def assert_run_is_right(self, process, epochs):
        out, err = self.finish(process)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(lines[-1]["reads"], epochs * len(self.files))
        self.assertEqual((lines[-1]["compared"], lines[-1]["differing"], lines[-1]["wrong"]), (len(self.files), 0, 0))
        return lines, err

    def test_a_node_is_killed_in_the_middle_of_a_run(self):
        for victim in (self.nodes.nodes[1], self.nodes.nodes[0]):  # another node, and the reader's own
            with self.subTest(victim.number):
                process = self.begin_run("--epochs", "40")
                self.assertIsNone(process.poll(), "the run goes on")
                victim.kill()
                self.assert_run_is_right(process, 40)
                victim.start()

    def test_a_node_is_stopped_for_a_while(self):
        process = self.begin_run("--epochs", "40")
        self.nodes.nodes[2].process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        self.nodes.nodes[2].process.send_signal(signal.SIGCONT)
        self.assert_run_is_right(process, 40)

    def test_all_nodes_are_killed(self):
        process = self.begin_run("--epochs", "40")
        for node in self.nodes.nodes:
            node.kill()
        self.assert_run_is_right(process, 40)

    def test_a_run_goes_on_when_its_node_restarts(self):
        process = self.begin_run("--epochs", "60")
        for node in self.nodes.nodes[:2]:
            node.kill()
            node.start()
        self.assert_run_is_right(process, 60)
        # The restarted nodes serve again.
        again = self.ok(*self.config, "--json", "run", self.tree, "--epochs", "2").json()
        self.assertEqual((again[2]["far_requests"], again[3]["wrong"]), (0, 0))

    def test_a_job_that_is_killed_leaves_its_objects_and_no_promise(self):
        process = self.begin_run("--epochs", "1000")
        wait_for(lambda: self.live_objects() == len(self.files), "everything loaded")
        process.kill()
        process.wait()
        jobs = lambda: sum(node["jobs"] for node in self.ok(*self.config, "--json", "status").json())
        wait_for(lambda: jobs() == 0, "the end of the lease", 40)
        again = self.ok(*self.config, "--json", "run", self.tree, "--epochs", "1").json()
        self.assertEqual((again[0]["kept_objects"], again[1]["far_requests"]), (len(self.files), 0))

    def test_views_stay_right_over_kill_and_restart(self):
        """A program that holds views while its node is killed and started again, and fills the memory anew."""
        program = subprocess.Popen([os.environ["E2E_HOLD_VIEWS"], self.nodes.client, *sorted(self.files)[:100]],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.environment)
        for stream in (program.stdin, program.stdout, program.stderr):
            self.addCleanup(stream.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        self.assertRegex(program.stdout.readline(), r"^holding 100 objects, [1-9]\d* of them views")
        own = self.nodes.nodes[0]
        own.kill()
        own.start()
        rng = random.Random(4)
        before = self.dropped_objects()
        for _ in range(5):  # more than the nodes have room for: what may be reused is
            for i in range(100):
                self.write(f"more/{i}", rng.randbytes(500_000))
            self.ok(*self.config, "run", f"{self.dir}/more", "--epochs", "1", "--no-verify")
        self.assertGreater(self.dropped_objects(), before)
        program.stdin.write("check\n")
        program.stdin.flush()
        self.assertEqual(program.stdout.readline(), "all 100 objects are as they were\n")
        program.stdin.close()
        self.assertEqual(program.wait(30), OK, program.stderr.read())

    def test_sigterm_ends_a_node_and_leaves_nothing(self):
        for node in self.nodes.nodes:
            self.assertTrue(os.path.exists(f"{node.state}/memory/region"))
        self.ok(*self.config, "run", self.tree, "--epochs", "1")
        for node, number in zip(self.nodes.nodes, (signal.SIGTERM, signal.SIGINT, signal.SIGTERM)):
            self.assertEqual(node.signal(number), 0, node.said())
            self.assertFalse(os.path.exists(node.state), node.state)
            self.assertNotIn(node.state, self.read("/proc/self/mounts").decode())
            self.assertTrue(node.said().endswith("ending\n"), node.said())

    def test_sigterm_under_load(self):
        process = self.begin_run("--epochs", "40")
        node = self.nodes.nodes[1]
        self.assertEqual(node.terminate(), 0, node.said())
        self.assertFalse(os.path.exists(node.state), node.state)
        self.assert_run_is_right(process, 40)


if __name__ == "__main__":
    unittest.main()
