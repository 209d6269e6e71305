# SPDX-License-Identifier: Apache-2.0
"""Nodes that are killed at random instants while lists are held and read: what was promised stays, and every byte is right.

A few rounds; E2E_KILL_ROUNDS makes it more, E2E_KILL_SEED another order of events (scripts/kills).
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import time
import unittest

from harness import CACHED, HOLDFAST, NOT_REACHED, OK, Node, Scratch, free_ports, wait_for

ROUNDS = int(os.environ.get("E2E_KILL_ROUNDS", "3"))
SEED = int(os.environ.get("E2E_KILL_SEED", "1"))
# A promise is for this long, and looked at for so long after it was made.
HOLD_S, TRUST_S = 150, 80
FILES, HELD, READ = 800, 80, 300
READ_BACK_EVERY = 3  # rounds


@contextlib.contextmanager
def told_at_once():
    """Of many rounds what went wrong is of interest before the last one is over."""
    try:
        yield
    except AssertionError as wrong:
        print(f"\n{wrong}", flush=True)
        raise


class Kills(Scratch):
    """Two nodes; what is promised is in their memory."""

    def settings(self):
        return []

    def setUp(self):
        super().setUp()
        self.rng = random.Random(SEED)
        # Each round's listing must find the same files.
        self.files = [self.write(f"tree/{i}", self.rng.randbytes(self.rng.choice([0, 300, 9_000, 60_000])))
                      for i in range(FILES)]
        for i in range(120):
            self.write(f"more/{i}", self.rng.randbytes(230_000))
        self.cluster_of_two = self.cluster(2, settings=self.settings())
        self.nodes = self.cluster_of_two.nodes
        self.config = ["--config", self.cluster_of_two.client]
        self.runs = 0
        self.promised = {}  # file: until when it is trusted to be held

    def list_of(self, name, files):
        return self.write(name, "".join(f"{file}\n" for file in files))

    def begin(self, *words):
        process = subprocess.Popen([HOLDFAST, *self.config, "--json", *words], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def finish(self, process):
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def status(self):
        return self.ok(*self.config, "--json", "status").json()

    def hold_some(self, number):
        """Holds of which some are confirmed, and some load, when the kill comes."""
        files = self.rng.sample(self.files, HELD)
        words = ["hold", self.list_of(f"held-{number}", files), "--for", f"{HOLD_S}s"]
        if self.rng.random() < 0.5:
            words.append("--wait")
        return files, time.monotonic(), self.begin(*words)

    def run_is_right(self, process, epochs):
        code, out, err = self.finish(process)
        if code == NOT_REACHED and not out:
            return  # its node was killed before it had begun
        self.assertEqual(code, OK, out + err)
        self.runs += 1
        last = json.loads(out.splitlines()[-1])
        self.assertEqual((last["reads"], last["differing"], last["wrong"]), (epochs * READ, 0, 0), out + err)

    def kill_under_load(self, number):
        reads = self.begin("run", self.list_of("read", self.rng.sample(self.files, READ)), "--epochs", "3")
        time.sleep(self.rng.random() * self.rng.choice([0.1, 0.6]))
        holds = [self.hold_some(f"{number}-{i}") for i in range(3)]
        time.sleep(self.rng.random() * self.rng.choice([0.05, 0.3, 1]))
        victims = self.rng.choice([[0], [1], [0, 1]])
        for victim in victims:
            self.nodes[victim].kill()
        for victim in victims:
            self.nodes[victim].start()
        for files, began, process in holds:
            code, _, _ = self.finish(process)
            if code == OK:  # every node that is to have one of them has acknowledged it
                for file in files:
                    self.promised[file] = max(self.promised.get(file, 0), began + TRUST_S)
        self.run_is_right(reads, 3)
        return victims

    def trusted(self):
        now = time.monotonic()
        return sorted(file for file, until in self.promised.items() if until > now)

    def check_promises(self, victims):
        trusted = self.trusted()
        state = self.status()
        self.assertEqual([node["promises"]["broken"] for node in state], [0, 0], state)
        for victim in victims:
            journal = state[victim]["journal"]
            self.assertEqual((journal["lost_objects"], journal["void_jobs"], journal["failed"]), (0, 0, False), journal)
        self.on_disk = sum(node["disk"]["held_objects"] for node in state if "disk" in node)
        promised = self.on_disk + sum(node["memory"]["held_objects"] + node["promises"]["pending_objects"] for node in state)
        self.assertGreaterEqual(promised, len(trusted), state)
        return len(trusted)

    def read_back(self):
        """What is not held leaves; then what was promised costs no request."""
        wait_for(lambda: all(node["promises"]["pending_objects"] == 0 for node in self.status()), "the end of all loads")
        self.ok(*self.config, "run", f"{self.dir}/more", "--epochs", "1", "--no-verify")
        trusted = self.trusted()
        if not trusted:
            return 0
        lines = self.ok(*self.config, "--json", "run", self.list_of("promised", trusted), "--epochs", "1").json()
        if time.monotonic() > min(self.promised[file] for file in trusted) + HOLD_S - TRUST_S - 20:
            return 0  # on a machine so slow that some of it may be over
        self.assertEqual((lines[-1]["far_requests"], lines[-1]["wrong"], lines[-1]["differing"]), (0, 0, 0), lines)
        return len(trusted)

    def test_what_was_promised_survives_kills(self):
        looked_at = read_back = restored = on_disk = 0
        for number in range(ROUNDS):
            with self.subTest(round=number, seed=SEED), told_at_once():
                victims = self.kill_under_load(number)
                looked_at += self.check_promises(victims)
                on_disk += self.on_disk
                if number % READ_BACK_EVERY == 1:
                    read_back += self.read_back()
                restored += sum(self.status()[victim]["journal"]["restored_objects"] for victim in victims)
        self.assertGreater(min(looked_at, read_back), 0)
        self.assertGreater(restored, 0)
        self.assertGreater(self.runs, 0)
        print(f"{ROUNDS} rounds, {self.runs} runs: {looked_at} promised objects counted, {on_disk} of them on disks, "
              f"{read_back} read back, {restored} taken up after a kill, none lost")
        return on_disk


class KillsWithDisks(Kills):
    """Their memory has no room for all that is promised."""

    def settings(self):
        return ["memory.limit=14MiB", "memory.segment=256KiB", "memory.max_object=64KiB", "disk.limit=64MiB", "disk.segment=1MiB",
                f"disk.directory={self.dir}/disk-{{node}}", f"journal.directory={self.dir}/journal-{{node}}", "journal.limit=4MiB"]

    def test_what_was_promised_survives_kills(self):
        self.assertGreater(super().test_what_was_promised_survives_kills(), 0)


class Journals(Scratch):
    """A journal on a disk."""

    def setUp(self):
        super().setUp()
        rng = random.Random(5)
        self.files = [self.write(f"tree/{i}", rng.randbytes(rng.choice([10, 20_000]))) for i in range(200)]
        self.journal = f"{self.dir}/journal/promises.journal"
        self.nodes = self.cluster(1, settings=[f"journal.directory={self.dir}/journal", "journal.limit=4MiB"])
        self.config = ["--config", self.nodes.client]
        self.node = self.nodes.nodes[0]

    def hold(self, *options):
        return self.ok(*self.config, "--json", "hold", f"{self.dir}/tree", "--for", "10min", *options).json()[-1]["job"]

    def loaded(self):
        return wait_for(lambda: next(iter(s for s in self.ok(*self.config, "--json", "status").json()
                                          if "promises" in s and s["promises"]["pending_objects"] == 0), None), "loaded")

    def test_a_restart_of_the_machine(self):
        self.hold()
        self.node.kill()
        self.node.clean_up()
        shutil.rmtree(self.node.state)  # what a machine that goes down does with it
        self.node.start()
        state = self.loaded()
        self.assertEqual((state["memory"]["held_objects"], state["promises"]["broken"]), (200, 0))
        again = self.ok(*self.config, "--json", "run", f"{self.dir}/tree", "--epochs", "1").json()
        self.assertEqual((again[-1]["far_requests"], again[-1]["differing"]), (0, 0))

    def test_what_is_released_is_not_held_again(self):
        job = self.hold("--wait")
        self.node.kill()
        self.node.start()
        self.assertEqual(self.loaded()["memory"]["held_objects"], 200)
        self.ok(*self.config, "release", job)
        wait_for(lambda: self.loaded()["memory"]["held_objects"] == 0, "the end of the job")
        self.node.kill()
        self.node.start()
        state = self.loaded()
        self.assertEqual((state["memory"]["held_objects"], state["jobs"]), (0, 0))

    def test_an_end_in_order_and_a_start_keep_what_memory_keeps(self):
        self.hold("--wait")
        self.assertEqual(self.node.terminate(), 0)
        self.assertTrue(os.path.exists(self.journal))
        self.node.start()  # the memory was given back: what the journal has names for is loaded again
        state = self.loaded()
        self.assertEqual(state["memory"]["held_objects"] + state["journal"]["lost_objects"], 200)

    def test_a_damaged_one_is_put_aside(self):
        self.hold("--wait")
        self.node.kill()
        with open(self.journal, "r+b") as file:
            for head in (0, 4096):
                file.seek(head + 16)
                file.write(b"\xff" * 32)
        self.node.start()
        self.assertTrue(os.path.exists(self.journal + ".damaged"))
        self.assertIn("void", self.node.said())
        self.assertEqual(self.loaded()["memory"]["held_objects"], 0)
        self.hold("--wait")
        self.assertEqual(self.loaded()["memory"]["held_objects"], 200)

    def test_two_daemons_do_not_share_one(self):
        other = self.run_program(CACHED, "--config", self.node.config, "--set", "id=2", "--set", "control=tcp://127.0.0.1:0",
                                 "--set", f"state_directory={self.state_of(2)}", "--set",
                                 f"journal.directory={self.dir}/journal")
        self.assertNotEqual(other.code, OK)
        self.assertRegex(other.said, r"another process is using .*promises\.journal")

    def test_another_nodes_is_left_alone(self):
        self.hold("--wait")
        self.node.kill()
        before = self.read(self.journal)
        control = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        stranger = Node(self, 2, control, f'[[node]]\nid = 2\ncontrol = "{control}"\n', self.node.settings)
        self.addCleanup(stranger.clean_up)
        stranger.start()
        wait_for(lambda: "promises nothing until it is started again" in stranger.said(), "the refusal")
        self.assertIn("journal.directory", stranger.said())
        stranger.kill()
        self.assertEqual(self.read(self.journal), before)

    def state_of(self, number):
        return os.path.join(self.state, f"node-{number}")


if __name__ == "__main__":
    unittest.main()
