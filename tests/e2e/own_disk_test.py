# SPDX-License-Identifier: Apache-2.0
"""A job on a node's machine reads what is on the node's disk by itself: the node only says where it lies."""

import glob
import os
import random
import threading
import time
import unittest

from harness import Scratch, wait_for

MANY = 400
BYTES = 400_000


class OwnDisk(Scratch):
    """160 MB of objects, 64 MiB of memory, and a disk for all of them."""

    limit = "320MiB"

    def setUp(self):
        super().setUp()
        rng = random.Random(9)
        self.names = [self.write(f"tree/{i:03}", rng.randbytes(BYTES)) for i in range(MANY)]
        self.disk = f"{self.dir}/disk"
        self.nodes = self.cluster(1, settings=[f"disk.directory={self.disk}", f"disk.limit={self.limit}",
                                               "disk.segment=4MiB"])
        self.config = ["--config", self.nodes.client]

    def status(self):
        return self.ok(*self.config, "--json", "status").json()[0]

    def fill(self):
        """Everything was in memory once, and what had to leave it is on the disk; in pieces, with a rest for the disk."""
        for first in range(0, MANY, 10):
            self.read_by_name(self.names[first:first + 10])
            wait_for(self.nothing_is_written, "the end of the copies")

    def nothing_is_written(self):
        before = self.status()["disk"]["written_objects"]
        time.sleep(0.1)
        return self.status()["disk"]["written_objects"] == before

    def run_names(self, names):
        """Reads them through the node in one epoch; compared with their source byte by byte."""
        listed = self.write("some", "\n".join(names) + "\n")
        done = self.holdfast(*self.config, "--json", "run", listed, "--epochs", "1", "--in-order")
        self.assertEqual(done.code, 0, done)
        lines = done.json()
        self.assertEqual(lines[-1]["wrong"], 0, done)
        self.assertEqual(lines[-1]["compared"], len(names), done)
        return lines[-2]

    def below(self):
        """About the first half of what was read: it has left memory."""
        wait_for(lambda: self.status()["disk"]["objects"] > MANY // 2, "descent")
        return self.names[:MANY // 2]

    def counts(self):
        status = self.status()
        loads, disk = status["loads"], status["disk"]
        return {"far": status["far"]["gets"], "loaded": loads["disk_objects"], "places": loads["disk_places"],
                "corrupt": disk["corrupt"]}

    def read_by_name(self, names):
        """As who announces nothing reads them: their sizes are not known."""
        self.fetch("\n".join(names) + "\n", names)

    def read_versions(self, names):
        """The same, of the version and size that a listing says."""
        wanted = set(names)
        lines = self.ok(*self.config, "list", f"{self.dir}/tree/").text.splitlines(keepends=True)
        lines = [line for line in lines if line.split("\t")[0].removeprefix("file://") in wanted]
        self.assertEqual(len(lines), len(names))
        self.fetch("".join(lines), names)

    def fetch(self, listed, names):
        out = f"{self.dir}/out"
        self.ok(*self.config, "-q", "fetch", "-", "-o", out, input=listed.encode())
        for name in names:
            self.assertEqual(self.read(name), self.read(f"{out}{name}"), name)

    def test_who_reads_the_disk_has_nothing_loaded_for_it(self):
        self.fill()
        names = self.below()
        for read in (self.read_by_name, self.read_versions):
            before = self.counts()
            read(names)
            after = self.counts()
            self.assertGreater(after["places"] - before["places"], len(names) * 3 // 4, (before, after))
            self.assertLess(after["loaded"] - before["loaded"], len(names) // 4, (before, after))
            self.assertLess(after["far"] - before["far"], len(names) // 4, (before, after))
            self.assertEqual(after["corrupt"], 0)

    def test_a_job_that_exceeds_memory_reads_the_rest_on_the_disk(self):
        self.fill()
        self.below()
        before = self.counts()
        epoch = self.run_names(self.names)
        self.assertGreater(epoch["own_disk_objects"], MANY // 4, epoch)
        self.assertEqual(epoch["failed"], 0)
        self.assertGreaterEqual(self.counts()["places"] - before["places"], epoch["own_disk_objects"])

    def test_what_is_read_again_soon_comes_into_memory(self):
        self.fill()
        names = self.below()[:20]
        self.read_versions(names)
        before = self.counts()
        self.read_versions(names)
        self.read_versions(names)
        after = self.counts()
        self.assertGreater(after["loaded"] - before["loaded"], 10, (before, after))
        self.assertLess(after["places"] - before["places"], 10, (before, after))

    def test_a_garbled_disk_gives_right_bytes_from_elsewhere(self):
        self.fill()
        names = self.below()
        rng = random.Random(3)
        for path in glob.glob(f"{self.disk}/*.segment"):
            with open(path, "r+b") as file:
                for at in range(0, os.path.getsize(path), 700_000):
                    file.seek(at + rng.randrange(600_000))
                    file.write(rng.randbytes(8))
                os.fsync(file.fileno())
        before = self.counts()
        self.read_versions(names)
        after = self.counts()
        self.assertGreater(after["places"], before["places"])
        self.assertGreater(after["far"] - before["far"], 10, (before, after))
        self.read_by_name(names)

    def test_files_that_cannot_be_opened_are_read_by_the_node(self):
        self.fill()
        names = self.below()
        os.rename(self.disk, f"{self.disk}-elsewhere")  # the node has them open
        before = self.counts()
        self.read_versions(names)
        after = self.counts()
        self.assertGreater(after["loaded"] - before["loaded"], len(names) // 2, (before, after))
        self.assertLess(after["far"] - before["far"], len(names) // 4, (before, after))


class SmallDisk(OwnDisk):
    """One whose segments are taken back and written anew all the while."""

    limit = "48MiB"

    def setUp(self):
        super().setUp()
        self.stop = threading.Event()
        self.addCleanup(self.stop.set)
        self.churned = []

    def churn(self):
        rng = random.Random(8)
        while not self.stop.is_set():
            listed = "\n".join(rng.sample(self.names, 60)) + "\n"
            done = self.holdfast(*self.config, "-q", "fetch", "-", "-o", f"{self.dir}/churn", input=listed.encode())
            self.churned.append(done.code)

    def test_segments_are_written_anew_while_they_are_read(self):
        writer = threading.Thread(target=self.churn)
        writer.start()
        rng = random.Random(4)
        for turn in range(12):
            names = rng.sample(self.names, 80)
            (self.read_by_name if turn % 2 == 0 else self.read_versions)(names)
        places = self.counts()["places"]
        self.stop.set()
        writer.join()
        self.assertEqual(set(self.churned), {0})
        self.assertGreater(places, 50)
        self.assertGreater(self.status()["disk"]["evicted_objects"], 0)


def load_tests(loader, tests, pattern):
    """Each class has its own tests only."""
    suite = unittest.TestSuite(loader.loadTestsFromTestCase(OwnDisk))
    suite.addTest(SmallDisk("test_segments_are_written_anew_while_they_are_read"))
    return suite


if __name__ == "__main__":
    unittest.main()
