# SPDX-License-Identifier: Apache-2.0
"""What a node keeps: over restarts, on a disk below its memory, on one that is damaged, and on none that cannot be used."""

import glob
import os
import random
import time
import unittest

from harness import CACHED, Scratch, wait_for

MANY = 900
BYTES = 100_000


class Disk(Scratch):
    def setUp(self):
        super().setUp()
        rng = random.Random(5)
        for i in range(MANY):
            self.write(f"tree/{i:04}", rng.randbytes(BYTES))
        self.names = [f"{self.dir}/tree/{i:04}" for i in range(MANY)]
        self.disk = f"{self.dir}/disk"
        self.settings = [f"disk.directory={self.disk}", "disk.limit=256MiB", "disk.segment=1MiB"]

    def start(self):
        self.nodes = self.cluster(1, settings=self.settings)
        self.node = self.nodes.nodes[0]
        self.config = ["--config", self.nodes.client]

    def status(self):
        return self.ok(*self.config, "--json", "status").json()[0]

    def fetch(self, names):
        """Through the node, compared byte by byte."""
        listed = self.write("names", "\n".join(names) + "\n")
        out = f"{self.dir}/out"
        self.ok(*self.config, "-q", "fetch", "-", "-o", out, input=self.read(listed))
        for name in names:
            self.assertEqual(self.read(name), self.read(f"{out}{name}"), name)

    def fetch_all(self):
        """In pieces, with a rest for the disk after each: memory does not wait for it."""
        for first in range(0, len(self.names), 40):
            self.fetch(self.names[first:first + 40])
            if len(self.settings) > 1:
                wait_for(self.nothing_is_written, "the end of the copies")

    def nothing_is_written(self):
        before = self.status()["disk"]["written_objects"]
        time.sleep(0.1)
        return self.status()["disk"]["written_objects"] == before

    def test_what_memory_lets_go_of_is_not_fetched_again(self):
        self.start()
        self.fetch_all()
        status = wait_for(lambda: self.status() if self.status()["disk"]["objects"] > 300 else None, "descent")
        self.assertLess(status["memory"]["live_objects"], MANY)
        gets = status["far"]["gets"]
        self.assertGreaterEqual(gets, MANY)
        self.fetch_all()
        status = self.status()
        # Without a disk all of them would be gone by the time they are read again.
        self.assertLess(status["far"]["gets"] - gets, gets // 2, status)
        self.assertGreater(status["loads"]["disk_objects"] + status["loads"]["disk_places"], 300)
        self.assertEqual(status["disk"]["corrupt"], 0)

    def test_a_plan_knows_what_lies_on_a_disk(self):
        self.start()
        self.fetch_all()
        wait_for(lambda: self.status()["disk"]["objects"] > 300, "descent")
        listed = self.write("names", "\n".join(self.names[:100]) + "\n")  # the first to leave memory
        plan = self.ok(*self.config, "--json", "plan", listed).json()[0]
        self.assertGreater(plan["disk_objects"], 60, plan)
        self.assertEqual(plan["far_requests_ahead"], 100 - plan["kept_objects"] - plan["disk_objects"])
        self.assertIn("from disks", self.ok(*self.config, "plan", listed).text)
        gets = self.status()["far"]["gets"]
        done = self.ok(*self.config, "--json", "run", listed, "--epochs", "1", "--wait").json()
        self.assertEqual(done[-1]["differing"], 0)
        self.assertLessEqual(self.status()["far"]["gets"] - gets, plan["far_requests_ahead"])

    def test_a_list_larger_than_memory_is_held(self):
        """Memory may promise a third of it; the rest is promised on the disk, also after the daemon was killed."""
        self.settings += ["memory.keep=true", "journal.directory=" + f"{self.dir}/journal"]
        self.start()
        listed = self.write("names", "\n".join(self.names) + "\n")
        self.ok(*self.config, "hold", listed, "--for", "10min", "--wait")

        def read_all():
            done = self.ok(*self.config, "--json", "run", listed, "--epochs", "1", "--wait").json()
            self.assertEqual(done[-1]["differing"], 0)

        status = self.status()
        self.assertEqual(status["far"]["gets"], MANY)
        self.assertLess(status["memory"]["held_objects"], MANY * 2 // 3)
        self.assertGreater(status["promises"]["disk_reserved_bytes"], 100 * 100_000)
        read_all()
        self.assertEqual(self.status()["far"]["gets"], MANY)
        self.node.kill()
        self.node.start()
        status = self.status()
        self.assertEqual(status["journal"]["restored_objects"], MANY, status)
        self.assertEqual(status["journal"]["lost_objects"], 0)
        read_all()
        status = self.status()
        self.assertEqual(status["far"]["gets"], 0, status)
        self.assertEqual(status["promises"]["broken"], 0)

    def test_a_killed_node_finds_its_disk_again(self):
        self.start()
        self.fetch_all()
        wait_for(lambda: self.status()["disk"]["objects"] > 300, "descent")
        self.node.kill()
        self.node.start()
        self.assertIn("objects from earlier starts", self.node.said())
        status = self.status()
        self.assertGreater(status["disk"]["recovered_objects"], 290)
        self.fetch_all()
        self.assertLess(self.status()["far"]["gets"], MANY - 250)

    def test_a_node_that_restarts_finds_its_memory_again(self):
        self.settings = ["memory.keep=true"]
        self.start()
        self.names = self.names[:300]
        self.fetch_all()
        for end in (self.node.kill, self.node.terminate):
            end()
            self.node.start()
            self.assertIn("are still there from an earlier start", self.node.said())
            self.assertEqual(self.status()["memory"]["found_objects"], 300)
            self.fetch_all()
            self.assertEqual(self.status()["far"]["gets"], 0)

    def test_a_damaged_disk_gives_no_wrong_byte(self):
        self.start()
        self.fetch_all()
        wait_for(lambda: self.status()["disk"]["objects"] > 300, "descent")
        self.node.terminate()
        rng = random.Random(7)
        files = sorted(glob.glob(f"{self.disk}/*.segment"))
        for path in files:
            with open(path, "r+b") as file:
                for _ in range(5):
                    file.seek(rng.randrange(1 << 20))
                    file.write(rng.randbytes(16))
        os.truncate(files[3], 4_096)
        os.remove(files[5])
        self.node.start()
        self.fetch_all()
        self.assertEqual(self.status()["disk"]["resting"], False)
        self.assertGreater(self.status()["disk"]["corrupt"], 0)
        self.assertRegex(self.ok(*self.config, "status").text, r"; [0-9,]+ damaged")

    def test_disks_that_cannot_be_used(self):
        def start(*settings, number=1):
            words = [CACHED, "--set", f"id={number}", "--set", f"state_directory={self.state}/n{number}",
                     "--set", "memory.limit=64MiB", "--set", "control=tcp://127.0.0.1:0", "--set", "bulk=tcp://127.0.0.1:0"]
            for setting in settings:
                words += ["--set", setting]
            return self.run_program(*words)

        def refused(done, *pieces):
            self.assertNotEqual(done.code, 0, done)
            for piece in pieces:
                self.assertIn(piece, done.said + done.text)

        refused(start("disk.limit=1GiB"), "disk.directory", "is missing")
        refused(start(f"disk.directory={self.disk}"), "disk.limit", "is missing")
        refused(start("disk.directory=here", "disk.limit=1GiB"), "disk.directory", "absolute")
        refused(start(f"disk.directory={self.disk}", "disk.limit=4MiB"), "disk.limit", "8")
        refused(start(f"disk.directory={self.disk}", "disk.limit=4GiB", "disk.segment=128MiB"), "disk.segment", "64")
        refused(start(f"disk.directory={self.disk}", "disk.limit=1000TiB"), "disk.")
        free = os.statvfs(self.dir)
        too_much = free.f_bavail * free.f_frsize // (1 << 30) + 200
        refused(start(f"disk.directory={self.dir}/full", f"disk.limit={too_much}GiB", "disk.index_objects=100000"),
                "are free there", "disk.limit")
        thesis = self.write("home/thesis.txt", "precious")
        refused(start(f"disk.directory={self.dir}/home", "disk.limit=64MiB"), "thesis.txt")
        self.assertEqual(self.read(thesis), b"precious")
        self.start()
        refused(start(*self.settings, number=2), "another daemon is using", "disk.directory")
        self.node.terminate()
        refused(start(*self.settings, number=2), "of node 1", "disk.directory")


if __name__ == "__main__":
    unittest.main()
