# SPDX-License-Identifier: Apache-2.0
"""Reclaim whose bytes are moved elsewhere: by the storage server, or by a worker that is killed, stands still, and is back."""

import os
import random
import signal
import unittest

from harness import CACHED, CACHED_MISSING, CACHED_USAGE, Daemon, Scratch, free_ports, wait_for
from storage_test import Storage

FILES = 700
BYTES = 60_000


class Worker(Daemon):
    """One reclaim worker."""

    def __init__(self, test):
        super().__init__(test, os.path.join(test.dir, "worker.log"))
        self.endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        test.addCleanup(self.kill)

    def start(self):
        return self.run([CACHED, "--role", "reclaim", "--set", f"reclaim.listen={self.endpoint}"])

    def tell(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.running():
            super().kill()


class Reclaim(Scratch):
    def setUp(self):
        super().setUp()
        self.rng = random.Random(5)
        self.names = [self.write(f"tree/{i:04}", self.rng.randbytes(BYTES)) for i in range(FILES)]
        self.storage = Storage(self).start()
        self.worker = Worker(self)

    def start(self, at):
        self.nodes = self.cluster(1, settings=[f"disk.at={self.storage.endpoint}", "disk.limit=16MiB", "disk.segment=1MiB",
                                               "memory.limit=24MiB", f"reclaim.at={at}"])
        self.config = ["--config", self.nodes.client]

    def disk(self):
        return self.ok(*self.config, "--json", "status").json()[0]["disk"]

    def fetch(self, names):
        """Through the node, compared byte by byte."""
        out = f"{self.dir}/out"
        self.ok(*self.config, "-q", "fetch", "-", "-o", out, input="".join(f"{name}\n" for name in names).encode())
        for name in names:
            self.assertEqual(self.read(name), self.read(f"{out}{name}"), name)

    def churn(self, until, what):
        """Reads more than memory and disk have together; what is read on the disk is worth to be kept."""
        def once():
            self.fetch(self.rng.sample(self.names, 60))
            return until()
        wait_for(once, what, seconds=120)

    def some_are_moved(self, by):
        before = self.disk()[by]
        self.churn(lambda: self.disk()[by] > before, by)

    def all_is_right(self):
        self.fetch(self.names)
        disk = self.disk()
        self.assertEqual((disk["corrupt"], disk["bad_tables"], disk["wrong_moves_elsewhere"], disk["failed_writes"]),
                         (0, 0, 0, 0), disk)

    def test_the_storage_server_moves_what_it_has(self):
        self.start(self.storage.endpoint)
        self.some_are_moved("moves_elsewhere")
        self.assertGreater(self.disk()["kept_bytes"], BYTES)
        self.all_is_right()

    def test_a_worker_that_is_killed_stands_still_and_is_back_under_load(self):
        self.start(self.worker.endpoint)  # where nobody is yet
        self.some_are_moved("moves_here")
        self.worker.start()
        self.some_are_moved("moves_elsewhere")
        self.worker.kill()
        self.some_are_moved("moves_here")
        self.worker.start()
        self.some_are_moved("moves_elsewhere")
        self.worker.tell(signal.SIGSTOP)
        self.some_are_moved("moves_here")
        self.worker.tell(signal.SIGCONT)
        self.some_are_moved("moves_elsewhere")
        self.all_is_right()
        said = self.nodes.nodes[0].said()
        self.assertIn("lost the reclaim worker of node-1", said)
        self.assertIn("moved elsewhere again", said)

    def test_a_storage_server_that_is_killed_while_a_worker_moves(self):
        self.start(self.worker.start().endpoint)
        self.some_are_moved("moves_elsewhere")
        for _ in range(2):
            self.storage.kill()
            self.fetch(self.rng.sample(self.names, 30))
            self.storage.start()
            self.some_are_moved("moves_elsewhere")
        self.fetch(self.names)
        disk = self.disk()
        self.assertEqual((disk["corrupt"], disk["bad_tables"], disk["wrong_moves_elsewhere"]), (0, 0, 0), disk)

    def test_what_cannot_be(self):
        def start(*settings, role=()):
            words = [CACHED, *role]
            for setting in settings:
                words += ["--set", setting]
            return self.run_program(*words)

        node = ["id=5", "control=tcp://127.0.0.1:0", "bulk=tcp://127.0.0.1:0", "memory.limit=64MiB",
                f"state_directory={self.state}/n5"]
        at = f"reclaim.at={self.storage.endpoint}"
        disk = [f"disk.at={self.storage.endpoint}", "disk.limit=24MiB"]
        for settings, *pieces in [
                ([at], "reclaim.at", "disk.at"),
                (["disk.directory=/x", "disk.limit=1GiB", at], "reclaim.at", "disk.at"),
                ([*disk, "reclaim.at=worker-1"], "reclaim.at", "tcp://"),
                ([*disk, at, "disk.far_copy=file:///x/", "disk.reclaim_reads=far"], "reclaim.at", "both"),
                ([*disk, at, "reclaim.patience=0s"], "reclaim.patience"),
                ([*disk, "reclaim.listen=tcp://127.0.0.1:0"], "reclaim.listen"),
        ]:
            self.assert_says(start(*node, *settings), CACHED_USAGE, *pieces)
        role = ["--role", "reclaim"]
        self.assert_says(start("reclaim.listen=worker-1", role=role), CACHED_USAGE, "reclaim.listen", "tcp://")
        self.assert_says(start("storage.directory=/x", role=role), CACHED_USAGE, "storage.directory")
        self.assert_says(start("reclaim.listen=tcp://0.0.0.0:0", role=role), CACHED_MISSING, "cluster key")
        # A worker is no storage server.
        self.worker.start()
        done = start(*node, f"disk.at={self.worker.endpoint}", "disk.limit=24MiB")
        self.assert_says(done, CACHED_USAGE, "disk.at", "keeps no journals and segments")


if __name__ == "__main__":
    unittest.main()
