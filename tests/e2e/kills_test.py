# SPDX-License-Identifier: Apache-2.0
"""Nodes that are killed at random instants while lists are held and read: what was promised stays, and every byte is right.

A few rounds; E2E_KILL_ROUNDS makes it more, E2E_KILL_SEED another order of events (scripts/kills).
"""

import json
import os
import random
import subprocess
import time
import unittest

from harness import HOLDFAST, NOT_REACHED, OK, Scratch, wait_for

ROUNDS = int(os.environ.get("E2E_KILL_ROUNDS", "4"))
SEED = int(os.environ.get("E2E_KILL_SEED", "1"))
# A promise is for this long, and looked at for so long after it was made.
HOLD_S, TRUST_S = 150, 80
FILES, HELD, READ = 800, 80, 300
READ_BACK_EVERY = 3  # rounds


class Kills(Scratch):
    def setUp(self):
        super().setUp()
        self.rng = random.Random(SEED)
        # Each round's listing must find the same files.
        self.files = [self.write(f"tree/{i}", self.rng.randbytes(self.rng.choice([0, 300, 9_000, 60_000])))
                      for i in range(FILES)]
        for i in range(120):
            self.write(f"more/{i}", self.rng.randbytes(450_000))
        self.cluster_of_two = self.cluster(2)
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
        promised = sum(node["memory"]["held_objects"] + node["promises"]["pending_objects"] for node in state)
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
        looked_at = read_back = restored = 0
        for number in range(ROUNDS):
            with self.subTest(round=number, seed=SEED):
                victims = self.kill_under_load(number)
                looked_at += self.check_promises(victims)
                if number % READ_BACK_EVERY == 1:
                    read_back += self.read_back()
                restored += sum(self.status()[victim]["journal"]["restored_objects"] for victim in victims)
        self.assertGreater(min(looked_at, read_back), 0)
        self.assertGreater(restored, 0)
        self.assertGreater(self.runs, 0)
        print(f"{ROUNDS} rounds, {self.runs} runs: {looked_at} promised objects counted, {read_back} read back, "
              f"{restored} taken up after a kill, none lost")


if __name__ == "__main__":
    unittest.main()
