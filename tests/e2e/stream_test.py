# SPDX-License-Identifier: Apache-2.0
"""Streams over real daemons: larger than a node, by several at once, with nodes that are killed, with limits and ends."""

import random
import re
import signal
import subprocess
import unittest

from harness import Cluster, HOLDFAST, Scratch, wait_for

MIB = 1 << 20
RECORD = 64 * 1024
MEMORY_MIB, DISK_MIB = 8, 16  # of each node


class Streams(Scratch):
    def start(self, count=4):
        self.nodes = Cluster(self, count)
        for node in self.nodes.nodes:  # each has a disk of its own
            node.settings = ["memory.max_object=256KiB", f"disk.directory={self.dir}/disk-{node.number}",
                             "disk.limit=32MiB", "disk.segment=1MiB"]
        self.nodes.start()
        self.config = ["--config", self.nodes.client]
        self.remote = ["--config", self.nodes.remote_client]

    def limits(self):
        return ["--memory", f"{MEMORY_MIB}MiB", "--disk", f"{DISK_MIB}MiB"]

    def put(self, name, content, *words, config=None):
        return self.holdfast(*(config or self.config), "-q", "stream", "put", name, *words, input=content)

    def cat(self, name, config=None):
        words = [HOLDFAST, *(config or self.config), "-q", "stream", "cat", name]
        done = subprocess.run(words, capture_output=True, timeout=120, env=self.environment, cwd=self.dir)
        return done.returncode, done.stdout, done.stderr.decode()

    def listed(self):
        return self.ok(*self.config, "--json", "stream", "ls").json()

    def status(self):
        return self.ok(*self.config, "--json", "status").json()

    def background(self, *words):
        process = subprocess.Popen([HOLDFAST, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment, cwd=self.dir)
        def end():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()
        self.addCleanup(end)
        return process

    def assert_all_free(self):
        def free():
            nodes = self.status()
            return all(node["promises"]["reserved_bytes"] == 0 and node["disk"]["lent_segments"] == 0 for node in nodes)
        wait_for(free, "everything is free")
        self.assertEqual(self.listed(), [])

    def without_lost(self, content, said):
        """What a reader is left with when it was told of these losses."""
        lost = set()
        before = None
        for first, last, why in re.findall(r"records? ([\d,]+)(?: to ([\d,]+))? (?:is|are) lost(.*)", said):
            first = int(first.replace(",", ""))
            last = int(last.replace(",", "")) if last else first
            lost |= set(range(first, last + 1))
            self.assertNotEqual((first - 1, why), before, "neighbours are told as one")
            before = (last, why)
        records = [content[i:i + RECORD] for i in range(0, len(content), RECORD)]
        return b"".join(record for i, record in enumerate(records) if i not in lost), lost

    def test_four_times_a_nodes_limits_on_four_nodes(self):
        self.start()
        content = random.Random(1).randbytes(4 * (MEMORY_MIB + DISK_MIB) * MIB * 95 // 100)
        done = self.put("job/shuffle", content, *self.limits())
        self.assertEqual(done.code, 0, done)
        for reader in (self.config, self.remote):
            code, out, said = self.cat("job/shuffle", reader)
            self.assertEqual((code, said), (0, ""))
            self.assertTrue(out == content, f"{len(out)} bytes instead of {len(content)}, or others")
        [line] = self.listed()
        self.assertEqual((line["name"], line["complete"], line["nodes"]), ("job/shuffle", True, 4))
        self.assertEqual(line["records"], (len(content) + RECORD - 1) // RECORD)
        self.assertLessEqual(line["memory_bytes"], 4 * MEMORY_MIB * MIB)
        self.assertLessEqual(line["disk_bytes"], 4 * DISK_MIB * MIB)
        self.ok(*self.config, "stream", "rm", "job/shuffle")
        self.assert_all_free()

    def test_more_than_there_is_room_for(self):
        self.start(2)
        content = random.Random(2).randbytes(3 * (MEMORY_MIB + DISK_MIB) * MIB)
        done = self.put("large", content, *self.limits())
        self.assertEqual(done.code, 1, done)
        self.assertRegex(done.said, r"no node has room.*node 1, memory: the stream has .* of its 8.0 MiB of memory")
        safe = int(re.search(r"the first ([\d,]+) records are safe", done.said)[1].replace(",", ""))
        self.assertGreater(safe * RECORD, 2 * (MEMORY_MIB + DISK_MIB) * MIB * 85 // 100)
        code, out, said = self.cat("large")
        self.assertEqual(code, 1)
        self.assertIn("ended without saying so", said)
        self.assertTrue(out == content[:safe * RECORD])

    def test_a_reader_beside_the_writer_and_before_its_first_record(self):
        self.start(2)
        writer = self.background(*self.config, "-q", "stream", "put", "tail", "--lines", *self.limits())
        wait_for(lambda: self.listed(), "the stream")
        readers = [self.background(*config, "-q", "stream", "cat", "tail") for config in (self.config, self.remote)]
        rng = random.Random(3)
        lines = b"".join(rng.randbytes(rng.randrange(2000)).hex().encode() + b"\n" for _ in range(20_000))
        # Some of it arrives while there is more to come.
        writer.stdin.write(lines)
        writer.stdin.flush()
        begin = [reader.stdout.read(len(lines) // 2) for reader in readers]
        self.assertIsNone(writer.poll())
        writer.stdin.close()
        self.assertEqual(writer.wait(60), 0)
        for reader, had in zip(readers, begin):
            self.assertTrue(had + reader.stdout.read() == lines)
            self.assertEqual(reader.wait(60), 0)

    def test_several_writers(self):
        self.start(3)
        first = self.background(*self.config, "-q", "stream", "put", "many", "--lines", "--writers", "3", *self.limits())
        wait_for(lambda: self.listed(), "the stream")
        others = [self.background(*self.remote, "-q", "stream", "put", "many", "--lines", "--join") for _ in range(2)]
        reader = self.background(*self.config, "-q", "stream", "cat", "many")
        for number, writer in enumerate([first, *others]):
            for i in range(5_000):
                writer.stdin.write(b"%d %d\n" % (number, i))
            writer.stdin.close()
        out = reader.stdout.read().splitlines()
        self.assertEqual(reader.wait(60), 0)
        for number, writer in enumerate([first, *others]):
            self.assertEqual(writer.wait(60), 0)
            mine = [line for line in out if line.startswith(b"%d " % number)]
            self.assertEqual(mine, [b"%d %d" % (number, i) for i in range(5_000)])
        self.assertEqual(len(out), 15_000)

    def test_a_node_is_killed_after_the_writing(self):
        self.start()
        content = random.Random(4).randbytes(40 * MIB)
        self.assertEqual(self.put("once", content, *self.limits()).code, 0)
        self.assertEqual(self.put("twice", content[:14 * MIB], "--second-copy", *self.limits()).code, 0)
        self.nodes.nodes[1].kill()
        code, out, said = self.cat("twice")
        self.assertEqual(code, 0, said)
        self.assertTrue(out == content[:14 * MIB])
        code, out, said = self.cat("once")
        expected, lost = self.without_lost(content, said)
        self.assertTrue(lost and out == expected, said)
        self.assertEqual(code, 1)
        self.assertIn("node 2", said)

    def test_a_node_is_killed_during_the_writing(self):
        for name, words in (("once", []), ("twice", ["--second-copy"])):
            with self.subTest(name):
                self.start()
                content = random.Random(5).randbytes(30 * MIB)
                writer = self.background(*self.config, "-q", "stream", "put", name, *words, *self.limits())
                writer.stdin.write(content[:20 * MIB])
                writer.stdin.flush()
                self.nodes.nodes[3].kill()
                writer.stdin.write(content[20 * MIB:])
                writer.stdin.close()
                self.assertEqual(writer.wait(120), 0, writer.stderr.read())
                code, out, said = self.cat(name)
                expected, lost = self.without_lost(content, said)
                self.assertTrue(out == expected, said[-2000:])
                self.assertEqual(code, 1 if lost else 0)
                if words:
                    self.assertFalse(lost, said)
                for node in self.nodes.nodes:
                    node.clean_up()

    def test_a_node_is_killed_during_the_reading(self):
        self.start()
        content = random.Random(6).randbytes(36 * MIB)
        self.assertEqual(self.put("twice", content, "--second-copy", *self.limits()).code, 0)
        reader = self.background(*self.remote, "-q", "stream", "cat", "twice")
        begin = reader.stdout.read(4 * MIB)
        self.nodes.nodes[2].kill()
        out = begin + reader.stdout.read()
        self.assertEqual(reader.wait(120), 0, reader.stderr.read())
        self.assertTrue(out == content)

    def test_a_writer_is_killed(self):
        self.start(2)
        writer = self.background(*self.config, "-q", "stream", "put", "gone", *self.limits())
        content = random.Random(7).randbytes(8 * MIB)
        writer.stdin.write(content)
        writer.stdin.flush()
        wait_for(lambda: any(line["records"] > 50 for line in self.listed()), "records")
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        records = self.listed()[0]["records"]
        code, out, said = self.cat("gone")
        self.assertEqual(code, 1)
        self.assertIn("ended without saying so", said)
        self.assertTrue(out == content[:records * RECORD])

    def test_a_stream_expires(self):
        self.start(3)
        content = random.Random(8).randbytes(20 * MIB)
        self.assertEqual(self.put("short", content, "--expire", "4s", *self.limits()).code, 0)
        self.assertTrue(self.cat("short")[1] == content)
        wait_for(lambda: not self.listed(), "expiry")
        self.assert_all_free()
        code, out, said = self.cat("short")
        self.assertEqual((code, out), (3, b""))
        self.assertIn("has expired", said)
        self.assertEqual(self.put("short", b"again", *self.limits()).code, 0)

    def test_a_name_that_never_was_with_a_node_down(self):
        """Those two nodes know it that keep its catalogue; the others have nothing to say about it."""
        self.start(4)
        self.nodes.nodes[3].kill()
        codes = [self.holdfast(*self.config, "stream", "rm", f"none-{i}").code for i in range(4)]
        self.assertEqual(set(codes), {3, 5}, codes)

    def test_names_and_arguments(self):
        self.start(2)
        self.assertEqual(self.put("taken", b"first", *self.limits()).code, 0)
        self.assert_says(self.put("taken", b"second", *self.limits()), 2, "taken is open already")
        self.assertEqual(self.cat("taken")[1], b"first")
        self.assert_says(self.put("a b", b""), 2, "no name of a stream")
        self.assert_says(self.put("none", b"", "--join"), 3, "no stream none")
        self.assert_says(self.put("x", b"", "--memory", "0"), 2, "--memory, --disk")
        self.assert_says(self.put("x", b"", "--expire", "1us"), 2, "expiration is at least 1 s")
        self.assert_says(self.put("x", b"", "--memory", "lots"), 2, "--memory", "lots")
        self.assert_says(self.put("x", b"", "--writers", "0"), 2, "1 to 1024")
        self.assert_says(self.holdfast(*self.config, "stream", "rm", "none"), 3, "no stream none")
        self.assert_says(self.holdfast(*self.config, "stream", "cat", "none"), 3, "no stream none")
        # Limits below what a chunk usually has.
        self.assert_says(self.put("x", b"", "--memory", "4KiB"), 2, "at least 4.5 KiB")
        content = random.Random(8).randbytes(100_000)
        self.assertEqual(self.put("small", content, "--memory", "64KiB").code, 0)
        self.assertEqual(self.cat("small"), (0, content, ""))
        # Nothing at all, and records of no bytes.
        self.assertEqual(self.put("empty", b"", *self.limits()).code, 0)
        self.assertEqual(self.cat("empty"), (0, b"", ""))
        # One record that is larger than a chunk, among small ones.
        content = random.Random(9).randbytes(5 * MIB) + b"tail"
        self.assertEqual(self.put("huge", content, "--record", "3MiB", *self.limits()).code, 0)
        self.assertEqual(self.cat("huge", self.remote), (0, content, ""))
        for node in self.nodes.nodes:
            node.kill()
        self.assertEqual(self.holdfast(*self.remote, "stream", "cat", "huge").code, 5)
        self.assertEqual(self.put("late", b"x", config=self.remote).code, 5)


if __name__ == "__main__":
    unittest.main()
