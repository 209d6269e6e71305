# SPDX-License-Identifier: Apache-2.0
"""Journal and disk of a node on a storage server: killed, gone and back, and contended."""

import os
import random
import shutil
import subprocess
import time
import unittest

from harness import CACHED, CACHED_MISSING, CACHED_USAGE, HOLDFAST, OK, Daemon, Node, Scratch, free_ports, wait_for

FILES = 700
BYTES = 100_000


class Storage(Daemon):
    """One storage server."""

    def __init__(self, test, *settings):
        super().__init__(test, os.path.join(test.dir, "storage.log"))
        self.endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        self.directory = os.path.join(test.dir, "storage")
        self.settings = [f"storage.listen={self.endpoint}", f"storage.directory={self.directory}", "storage.limit=512MiB",
                         *settings]
        test.addCleanup(self.kill)

    def start(self):
        words = [CACHED, "--role", "storage"]
        for setting in self.settings:
            words += ["--set", setting]
        return self.run(words)

    def kill(self):
        if self.running():
            super().kill()


class Elsewhere(Scratch):
    def setUp(self):
        super().setUp()
        rng = random.Random(11)
        self.names = [self.write(f"tree/{i:04}", rng.randbytes(BYTES)) for i in range(FILES)]
        self.small = [self.write(f"small/{i:04}", rng.randbytes(5_000)) for i in range(300)]
        self.storage = Storage(self).start()

    def start(self, *settings):
        self.nodes = self.cluster(1, settings=[f"journal.at={self.storage.endpoint}", "journal.limit=8MiB",
                                               f"disk.at={self.storage.endpoint}", "disk.limit=128MiB",
                                               "disk.segment=1MiB", *settings])
        self.node = self.nodes.nodes[0]
        self.config = ["--config", self.nodes.client]

    def status(self):
        return self.ok(*self.config, "--json", "status").json()[0]

    def list_of(self, name, files):
        return self.write(name, "".join(f"{file}\n" for file in files))

    def fetch(self, names):
        """Through the node, compared byte by byte."""
        out = f"{self.dir}/out"
        self.ok(*self.config, "-q", "fetch", "-", "-o", out, input="".join(f"{name}\n" for name in names).encode())
        for name in names:
            self.assertEqual(self.read(name), self.read(f"{out}{name}"), name)

    def written_objects(self):
        return self.status()["disk"]["written_objects"]

    def fetch_all(self):
        """In pieces, with a rest for the disk after each: memory does not wait for it."""
        for first in range(0, len(self.names), 40):
            self.fetch(self.names[first:first + 40])
            before = -1
            while before != (before := self.written_objects()):
                time.sleep(0.1)

    def machine_goes_down(self):
        """All that the node's machine had."""
        self.node.kill()
        self.node.clean_up()
        shutil.rmtree(self.node.state)

    def hold(self, name, files):
        return subprocess.Popen([HOLDFAST, *self.config, "--json", "hold", self.list_of(name, files), "--for", "10min"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)

    def test_a_node_without_a_disk(self):
        self.start()
        self.ok(*self.config, "hold", self.list_of("held", self.names[:100]), "--for", "10min", "--wait")
        self.fetch_all()
        wait_for(lambda: self.status()["disk"]["objects"] > 250, "descent")
        gets = self.status()["far"]["gets"]
        self.fetch_all()
        self.assertLess(self.status()["far"]["gets"] - gets, gets // 2)
        self.machine_goes_down()
        self.node.start()
        status = self.status()
        self.assertEqual((status["journal"]["restored_objects"], status["journal"]["lost_objects"]), (100, 0), status)
        self.assertGreater(status["disk"]["recovered_objects"], 250)
        self.fetch_all()
        self.assertEqual((self.status()["disk"]["corrupt"], self.status()["promises"]["broken"]), (0, 0))

    def test_a_storage_server_that_is_killed_under_load_loses_nothing_acknowledged(self):
        self.start()
        rng = random.Random(3)
        promised = set()
        for number in range(4):
            lists = [rng.sample(self.small, 40) for _ in range(4)]
            holds = [(files, self.hold(f"{number}-{i}", files)) for i, files in enumerate(lists)]
            reads = subprocess.Popen([HOLDFAST, *self.config, "--json", "run", self.list_of("read", self.names),
                                      "--epochs", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
            time.sleep(rng.random() * 0.3)
            self.storage.kill()
            time.sleep(rng.random() * 0.5)
            self.storage.start()
            for files, process in holds:
                out, err = process.communicate(timeout=60)
                if process.returncode == OK:
                    promised.update(files)
            out, err = reads.communicate(timeout=60)
            self.assertEqual(reads.returncode, OK, out + err)
        self.assertGreater(len(promised), 0)
        self.node.kill()
        self.node.start()
        status = self.status()
        self.assertEqual((status["journal"]["lost_objects"], status["journal"]["void_jobs"]), (0, 0), status)
        held = status["memory"]["held_objects"] + status["disk"]["held_objects"] + status["promises"]["pending_objects"]
        self.assertGreaterEqual(held, len(promised), status)

    def test_a_node_goes_on_while_its_storage_server_is_gone(self):
        self.start("disk.patience=1s")
        self.fetch_all()
        wait_for(lambda: self.status()["disk"]["objects"] > 250, "descent")
        self.storage.kill()
        self.fetch(self.names[:60])
        wait_for(lambda: "lost the storage server" in self.node.said(), "the loss")
        self.fetch(self.names[60:120])
        objects = self.status()["disk"]["objects"]
        self.assertGreater(objects, 200)  # they are not forgotten
        # Its journal is gone, too: it can promise nothing, and counts as there.
        done = self.holdfast(*self.config, "hold", self.list_of("more", self.names[:20]), "--for", "10min")
        self.assertIn(b"lives, but does not answer calls", done.err, done)
        self.assertNotIn(b"counts as away", done.err, done)
        self.storage.start()
        wait_for(lambda: self.node.said().count("is back after") >= 2, "its return")
        reads = self.status()["loads"]["disk_objects"]
        self.fetch(self.names[120:500])
        self.assertGreater(self.status()["loads"]["disk_objects"], reads)
        self.assertEqual(self.status()["journal"]["failed"], False)
        self.ok(*self.config, "hold", self.list_of("held", self.names[:20]), "--for", "10min", "--wait")

    def test_a_newer_daemon_fences_the_older(self):
        self.start()
        self.ok(*self.config, "hold", self.list_of("held", self.names[:50]), "--for", "10min", "--wait")
        control = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        newer = Node(self, 1, control, f'[[node]]\nid = 1\ncontrol = "{control}"\n',
                     [*self.node.settings, f"state_directory={self.state}/newer"])
        newer.log = f"{self.dir}/newer.log"
        self.addCleanup(newer.clean_up)
        newer.start()
        wait_for(lambda: "a newer process of this node has opened it" in self.node.said(), "the fence")
        self.holdfast(*self.config, "hold", self.list_of("more", self.names[60:90]), "--for", "10min")
        self.assertTrue(self.status()["journal"]["failed"])

    def damage_and_read(self, reclaim_reads):
        self.start("disk.far_copy=" + os.path.dirname(self.write("far/x", "")) + "/", f"disk.reclaim_reads={reclaim_reads}",
                   "disk.limit=32MiB")
        self.fetch_all()
        wait_for(lambda: self.status()["disk"]["objects"] > 200, "descent")
        wait_for(lambda: len(os.listdir(f"{self.dir}/far/node-1")) > 20, "copies")
        self.storage.kill()
        segments = f"{self.storage.directory}/segments/node-1/files"
        for name in os.listdir(segments):
            if name.endswith(".segment"):
                with open(f"{segments}/{name}", "r+b") as file:
                    file.seek(4096)
                    file.write(b"x" * 1_000_000)
        self.storage.start()
        before = self.status()
        self.fetch_all()
        status = self.status()
        self.assertGreater(status["loads"]["disk_objects"] - before["loads"]["disk_objects"], 20, status)
        return status

    def test_what_is_damaged_on_the_disk_is_read_from_its_copy(self):
        self.damage_and_read("disk")

    def test_reclaim_reads_the_copies(self):
        # The tables of the damaged segments are read there, too.
        self.assertEqual(self.damage_and_read("far")["disk"]["bad_tables"], 0)

    def test_what_cannot_be(self):
        def start(*settings, role=()):
            words = [CACHED, *role]
            for setting in settings:
                words += ["--set", setting]
            return self.run_program(*words)

        self.start()
        node = ["control=tcp://127.0.0.1:0", "bulk=tcp://127.0.0.1:0", "memory.limit=64MiB", "journal.limit=8MiB"]
        at = f"journal.at={self.storage.endpoint}"
        for settings, *pieces in [
                (["id=5", "cluster=other", at], "of another cluster"),
                (["id=5", at, "journal.limit=1GiB"], "storage.limit"),
                (["id=5", f"disk.at={self.storage.endpoint}", "disk.limit=1GiB", "disk.index_objects=100000"],
                 "storage.limit"),
        ]:
            done = start(*node, f"state_directory={self.state}/n5", *settings)
            self.assert_says(done, CACHED_MISSING if "cluster" not in pieces[0] else CACHED_MISSING, *pieces)
        for settings, *pieces in [
                (["journal.at=storage-1"], "journal.at", "tcp://"),
                ([at, "journal.directory=/var/lib/holdfast"], "journal.at", "both"),
                (["disk.at=tcp://127.0.0.1:1", "disk.directory=/x", "disk.limit=1GiB"], "disk.at", "both"),
                (["disk.at=tcp://127.0.0.1:1"], "disk.limit", "missing"),
                (["disk.directory=/x", "disk.limit=1GiB", "disk.reclaim_reads=far"], "disk.reclaim_reads", "disk.far_copy"),
                (["disk.directory=/x", "disk.limit=1GiB", "disk.far_copy=gopher://x/"], "disk.far_copy"),
                (["disk.directory=/x", "disk.limit=1GiB", "disk.far_copy=http://x/"], "disk.far_copy", "web server"),
                (["disk.directory=/x", "disk.limit=512KiB"], "disk.limit", "8 to 65535", "segments of"),
        ]:
            done = start(*node, "id=5", f"state_directory={self.state}/n5", *settings)
            self.assert_says(done, CACHED_USAGE, *pieces)
        role = ["--role", "storage"]
        self.assert_says(start("storage.limit=1GiB", role=role), CACHED_USAGE, "storage.directory")
        self.assert_says(start("storage.directory=/x", role=role), CACHED_USAGE, "storage.limit")
        self.assert_says(start(f"storage.directory={self.dir}/x", "storage.limit=1GiB", "storage.listen=tcp://0.0.0.0:0",
                               role=role), CACHED_MISSING, "cluster key")
        self.assert_says(start(*self.storage.settings, role=role), CACHED_MISSING, "another storage server")
        self.write("home/thesis.txt", b"precious")
        os.chmod(f"{self.dir}/home", 0o755)
        self.assert_says(start(f"storage.directory={self.dir}/home", "storage.limit=1GiB", role=role), CACHED_USAGE,
                         "thesis.txt", "storage.directory")
        self.assertEqual(os.listdir(f"{self.dir}/home"), ["thesis.txt"])
        self.assertEqual(os.stat(f"{self.dir}/home").st_mode & 0o777, 0o755)

    def test_a_file_system_of_its_own(self):
        """Its lost+found is root's, and may be looked into by root alone."""
        other = Storage(self)
        other.directory = os.path.join(self.dir, "mount")
        other.settings[1] = f"storage.directory={other.directory}"
        os.makedirs(f"{other.directory}/lost+found", mode=0)
        os.chmod(f"{other.directory}/lost+found", 0)
        self.addCleanup(os.chmod, f"{other.directory}/lost+found", 0o700)
        other.start()  # which waits until it is ready


if __name__ == "__main__":
    unittest.main()
