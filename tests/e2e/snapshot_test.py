# SPDX-License-Identifier: Apache-2.0
"""Snapshots of real nodes: collecting them, and what can be asked of their log."""

import fcntl
import json
import os
import random
import signal
import subprocess
import unittest
import xml.etree.ElementTree

from harness import HOLDFAST, NOT_REACHED, NOT_THERE, OK, USAGE, WRONG, Cluster, Scratch, wait_for

SVG = "{http://www.w3.org/2000/svg}"


class Snapshots(Scratch):
    def setUp(self):
        super().setUp()
        self.log = os.path.join(self.dir, "log")
        rng = random.Random(11)
        self.files = [self.write(f"tree/{i}", rng.randbytes(20_000)) for i in range(400)]

    def start(self, nodes=2, **options):
        self.nodes = self.cluster(nodes, **options)
        self.config = ["--config", self.nodes.client]

    def fetch(self, files):
        self.ok(*self.config, "-q", "fetch", "-o", os.path.join(self.dir, "out"), *files)

    def collect(self, *options):
        return self.ok(*self.config, "--json", "snapshot", "collect", "--log", self.log, *options).json()[0]

    def view(self, *words):
        """What is in the log needs neither cluster nor configuration."""
        return self.ok("--config", "/dev/null", "--json", "snapshot", words[0], "--log", self.log, *words[1:]).json()

    def log_files(self):
        return sorted(os.path.join(self.log, name) for name in os.listdir(self.log) if name.endswith(".snap"))


class Collecting(Snapshots):
    def test_a_full_one_and_differences(self):
        self.start()
        empty = self.collect()
        self.assertEqual((empty["snapshot"], empty["kind"], empty["objects"], empty["answered"], empty["have_it"]),
                         (1, "full", 0, 2, 2))
        self.fetch(self.files[:100])
        first = self.collect()
        self.assertEqual((first["snapshot"], first["objects"], first["added"], first["removed"]), (2, 100, 100, 0))
        self.ok(*self.config, "drop", *self.files[:30])
        self.fetch(self.files[100:150])
        second = self.collect()
        self.assertEqual((second["kind"], second["objects"], second["added"], second["removed"]),
                         ("full", 120, 50, 30), "the differences had outgrown the full one")
        third = self.collect()
        self.assertEqual((third["kind"], third["added"], third["removed"]), ("difference", 0, 0))
        full = self.collect("--full")
        self.assertEqual((full["kind"], full["snapshot"]), ("full", 5))
        self.assertEqual(full["log_bytes"], sum(map(os.path.getsize, self.log_files())))

        shown = self.view("show")
        frames, nodes = [s for s in shown if "snapshot" in s], [s for s in shown if "node" in s]
        self.assertEqual([f["snapshot"] for f in frames], [1, 2, 3, 4, 5])
        self.assertEqual([f["kind"][0] for f in frames], list("fdfdf"))
        self.assertEqual([f["objects"] for f in frames], [0, 100, 120, 120, 120])
        self.assertEqual([n["node"] for n in nodes], [1, 2])
        self.assertEqual(sum(n["objects"] for n in nodes), 120)

        changes = self.view("diff", "2", "5")
        self.assertEqual([sum(c[k] for c in changes) for k in ("added", "removed", "same")], [50, 30, 70])
        self.assert_says(self.holdfast("snapshot", "diff", "--log", self.log, "2", "6"), NOT_THERE, "snapshot 6", "1 to 5")
        self.assert_says(self.holdfast("snapshot", "diff", "--log", self.log, "3", "2"), USAGE, "earlier")

        self.assertEqual(self.view("verify"), [{"files": 3, "set_aside": 0, "bytes": full["log_bytes"], "snapshots": 5,
                                                "faults": 0}])

    def test_finding_objects(self):
        self.start()
        self.fetch(self.files[:20])
        self.collect()
        self.ok(*self.config, "drop", self.files[0])
        self.collect()
        gone, there = self.files[0], self.files[1]
        found = self.view("find", there)[0]
        self.assertEqual((found["listed"], found["snapshot"], found["gone"], found["held"]), (True, 2, None, False))
        by_oid = self.view("find", found["oid"])[0]
        self.assertEqual((by_oid["node"], by_oid["age_us"]), (found["node"], found["age_us"]))
        done = self.holdfast("--json", "snapshot", "find", "--log", self.log, gone, os.path.relpath(there, self.dir), "0" * 32)
        self.assertEqual(done.code, NOT_THERE, done)
        self.assertEqual([(f["listed"], f["snapshot"], f["gone"]) for f in done.json()], [(False, 1, 2), (True, 2, None)])
        self.assertIn(f"{gone} is not in snapshot 2", done.said)
        self.assertIn("0" * 32, done.said)
        text = self.ok("snapshot", "find", "--log", self.log, there).text
        self.assertRegex(text, rf"^{there}: node {found['node']}, seen at 2\d+-.*Z \(.* ago\), .* old then\n$")
        # Held by a promise.
        listing = self.write("list", f"{there}\n")
        self.ok(*self.config, "hold", listing, "--for", "10min", "--wait")
        self.collect()
        self.assertTrue(self.view("find", there)[0]["held"])

        # A bucket is one of a far store: the name alone needs no answer from it.
        asked = ["snapshot", "find", "--log", self.log, "s3://bucket/key"]
        self.assert_says(self.holdfast("--s3-endpoint", "http://127.0.0.1:1", *asked), NOT_THERE, "s3://bucket/key is not in")
        self.assert_says(self.holdfast(*asked), NOT_THERE, "s3://bucket/key is not in")
        self.assert_says(self.holdfast("snapshot", "find", "--log", self.log, "s4://bucket"), USAGE, "s4://bucket")

    def test_nodes_that_do_not_answer(self):
        self.start(3)
        self.fetch(self.files[:60])
        self.collect()
        objects = {n["node"]: n["objects"] for n in self.view("show") if "node" in n}
        self.nodes.nodes[2].kill()
        done = self.ok(*self.config, "--json", "snapshot", "collect", "--log", self.log, "--deadline", "500ms")
        second = done.json()[0]
        self.assertEqual((second["answered"], second["absent"], second["removed"], second["have_it"]), (2, [3], 0, 2))
        self.assertIn("absent from snapshot 2: node 3", done.said)
        nodes = {n["node"]: n for n in self.view("show") if "node" in n}
        self.assertEqual((nodes[3]["answered"], nodes[3]["objects"]), (False, objects[3]), "absent is not empty")

        for node in self.nodes.nodes[:2]:
            node.kill()
        before = [self.read(f) for f in self.log_files()]
        self.assert_says(self.holdfast(*self.config, "snapshot", "collect", "--log", self.log, "--deadline", "300ms"),
                         NOT_REACHED, "none of 3 nodes")
        self.assertEqual([self.read(f) for f in self.log_files()], before)

        # A node that was started again has found its memory: of that nothing need be said.
        for node in self.nodes.nodes:
            node.start()
        back = self.collect()
        self.assertEqual((back["answered"], back["objects"], back["removed"]), (3, 60, 0))

    def test_one_line_for_cron(self):
        self.start(1)
        command = [*self.config, "snapshot", "collect", "--log", self.log]
        done = self.ok(*command)
        self.assertRegex(done.text, r"^2\d+-\d\d-\d\d \d\d:\d\d:\d\dZ snapshot 1, full: 1 of 1 nodes answered, 0 absent; "
                                    r"0 objects, 0 added, 0 removed; .* B in .*; 1 node has it\n$")
        self.assertEqual(done.said, "")
        done = self.ok("-q", *command)
        self.assertEqual((done.text, done.said), ("", ""))

        # A second collector is kept out. To cron that is no error, to one that is to go on by itself it is.
        with open(os.path.join(self.log, "lock"), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = self.ok(*command)
            self.assertRegex(done.text, rf"^another collector is at work in {self.log}; nothing to do\n$")
            done = self.ok("-q", *command)
            self.assertEqual((done.text, done.said), ("", ""))
            self.assertIsNone(self.collect()["snapshot"])
            self.assert_says(self.holdfast(*command, "--every", "1h"), NOT_REACHED, "another collector")
        self.assertEqual(self.collect()["snapshot"], 3)

    def test_going_on_by_itself(self):
        self.start(1)
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal_number):
                words = [HOLDFAST, *self.config, "--json", "snapshot", "collect", "--log", self.log, "--every", "1s"]
                process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
                self.addCleanup(process.kill)
                first, second = json.loads(process.stdout.readline()), json.loads(process.stdout.readline())
                self.assertEqual(second["snapshot"], first["snapshot"] + 1)
                process.send_signal(signal_number)
                out, err = process.communicate(timeout=60)
                self.assertEqual((process.returncode, err), (OK, b""))
        self.assertEqual(self.view("verify")[-1]["faults"], 0)
        # It survives that nobody answers.
        words = [HOLDFAST, *self.config, "--json", "snapshot", "collect", "--log", self.log, "--every", "1s", "--deadline", "1s"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
        self.addCleanup(process.kill)
        process.stdout.readline()
        self.nodes.nodes[0].kill()
        while b"none of 1 nodes" not in process.stderr.readline():
            pass
        self.nodes.nodes[0].start()
        self.assertEqual(json.loads(process.stdout.readline())["answered"], 1)
        process.terminate()
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, OK)

    def test_the_local_cluster_needs_no_directory(self):
        self.addCleanup(self.holdfast, "cluster", "down")
        up = ["--json", "cluster", "up", "--nodes", "1", "--memory", "64MiB"]
        log = os.path.join(os.path.dirname(self.ok(*up).json()[0]["config"]), "snapshots")
        self.ok("snapshot", "collect")
        self.assertEqual(self.ok("--json", "snapshot", "show").json()[0]["file"], f"{log}/{1:020}.snap")
        self.ok("cluster", "down")
        self.ok("snapshot", "show")
        self.ok(*up)
        self.assertEqual(self.ok("--json", "snapshot", "collect").json()[0]["snapshot"], 2, "the log outlives the cluster")

    def test_wrong_arguments(self):
        self.start(1)
        self.assert_says(self.holdfast(*self.config, "snapshot", "collect"), USAGE, "--log DIR")
        self.assert_says(self.holdfast("snapshot", "show"), USAGE, "--log DIR")
        self.assert_says(self.holdfast("snapshot", "collect", "--log", self.log), NOT_THERE, "cluster up")
        for flag, value in (("--deadline", "soon"), ("--every", "0s"), ("--every", ""), ("--every", "often"), ("--keep-for", "ever"),
                            ("--max-bytes", "much"), ("--deadline", "0s")):
            with self.subTest((flag, value)):
                self.assert_says(self.holdfast(*self.config, "snapshot", "collect", "--log", self.log, flag, value), USAGE, flag)
        for command in ("show", "verify", "curve", "period"):
            self.assert_says(self.holdfast("snapshot", command, "--log", self.log), NOT_THERE, self.log, "snapshot collect")
        file = self.write("file", "")
        self.assert_says(self.holdfast(*self.config, "snapshot", "collect", "--log", file), WRONG, file)


class Damage(Snapshots):
    def setUp(self):
        super().setUp()
        self.start(1)
        self.fetch(self.files[:50])
        for options in ([], [], ["--full"], []):
            self.collect(*options)

    def test_bits_and_torn_ends(self):
        first, second = self.log_files()
        whole = self.read(first)
        with open(first, "r+b") as file:
            file.seek(200)
            file.write(bytes([whole[200] ^ 1]))
        done = self.holdfast("--json", "snapshot", "verify", "--log", self.log)
        self.assertEqual(done.code, WRONG)
        fault, sums = done.json()
        self.assertEqual((fault["file"], fault["offset"], fault["torn"], sums["faults"]), (first, 0, False, 1))
        shown = self.ok("--json", "snapshot", "show", "--log", self.log)
        self.assertEqual([s["snapshot"] for s in shown.json() if "snapshot" in s], [3, 4])
        self.assertIn(f"{first}: offset 0", shown.said)

        with open(second, "r+b") as file:
            file.truncate(os.path.getsize(second) - 3)
        shown = self.ok("--json", "snapshot", "show", "--log", self.log)
        self.assertEqual([s["snapshot"] for s in shown.json() if "snapshot" in s], [3])
        self.assertRegex(shown.said, f"{second}: offset \\d+: .* torn")
        self.assertEqual(self.holdfast("snapshot", "verify", "--log", self.log).code, WRONG)
        done = self.ok(*self.config, "--json", "snapshot", "collect", "--log", self.log)
        self.assertEqual((done.json()[0]["snapshot"], done.json()[0]["kind"]), (4, "difference"))
        self.assertEqual(len(done.said.splitlines()), 1, done)
        self.assertEqual(self.ok(*self.config, "snapshot", "collect", "--log", self.log).said, "")

        # Damage within the newest file: a full one begins a new file.
        newest = self.log_files()[-1]
        with open(newest, "r+b") as file:
            file.seek(os.path.getsize(newest) - 1)
            file.write(b"\0" if self.read(newest)[-1] else b"\1")
        done = self.ok(*self.config, "--json", "snapshot", "collect", "--log", self.log)
        self.assertEqual((done.json()[0]["snapshot"], done.json()[0]["kind"]), (5, "full"))

    def test_another_cluster_and_another_version(self):
        newest = self.log_files()[-1]
        other = self.write("other.toml", 'cluster = "other"\n' + self.read(self.nodes.client).decode())
        self.assert_says(self.holdfast("--config", other, "snapshot", "collect", "--log", self.log), USAGE,
                         newest, "another cluster")
        whole = self.read(newest)
        self.write(newest, b"not a log at all" * 10)
        done = self.ok(*self.config, "--json", "snapshot", "collect", "--log", self.log)
        self.assertEqual(done.json()[0]["snapshot"], 3)
        self.assertEqual(self.read(newest + ".damaged"), b"not a log at all" * 10)
        self.assertNotEqual(self.read(newest), whole)

    def test_a_full_disk(self):
        files = self.log_files()
        before = [self.read(f) for f in files]
        newest = os.path.getsize(files[-1])
        limited = ["sh", "-c", f'trap "" XFSZ; ulimit -f {newest // 512}; exec "$@"', "sh"]
        for option in ([], ["--full"]):
            with self.subTest(option):
                self.fetch(self.files[50:400])
                done = self.holdfast(*self.config, "snapshot", "collect", "--log", self.log, *option, prefix=limited)
                self.assert_says(done, WRONG, "cannot write the snapshot log")
                self.assertEqual([self.read(f) for f in self.log_files()], before)
        after = self.collect()
        self.assertEqual((after["snapshot"], after["objects"]), (5, 400))
        self.assertEqual(self.view("verify")[-1]["faults"], 0)

    def test_retention(self):
        first, second = self.log_files()
        os.utime(first, (0, 0))
        os.utime(second, (0, 0))
        # The file that it is written to stays: a new one where differences have become larger than a full one.
        newest = self.collect("--keep-for", "1d")
        if newest["kind"] == "full":
            second = os.path.join(self.log, f"{newest['snapshot']:020}.snap")
        self.assertEqual(self.log_files(), [second])
        self.collect("--full")
        self.collect("--max-bytes", "1")
        self.assertEqual(len(self.log_files()), 1)
        self.assertNotEqual(self.log_files(), [second])


class Estimates(Snapshots):
    def test_the_curve_and_its_pictures(self):
        # 8 MiB of segments hold fewer objects than there are, so that nodes evict.
        self.start(1)
        big = [self.write(f"big/{i}", bytes([i % 256]) * 400_000) for i in range(300)]
        none = self.holdfast("snapshot", "curve", "--log", self.log)
        self.assertEqual(none.code, NOT_THERE)
        self.collect()
        fresh = self.view("period")[0]
        self.assertGreaterEqual(fresh["period_us"], 60_000_000)
        for part in range(6):
            self.fetch(big[part * 50:part * 50 + 50])
            self.collect()
        self.fetch(big[:50])
        last = self.collect()
        svg = os.path.join(self.dir, "curve.svg")
        curve = self.view("curve", "--svg", svg)[0]
        self.assertGreater(curve["evictions"], 1)
        self.assertLessEqual(curve["t_alive_us"], curve["t_dead_us"])
        self.assertLessEqual(curve["mean_life_us"], curve["t_dead_us"])
        means = [point["mean"] for point in curve["curve"]]
        self.assertEqual(means, sorted(means, reverse=True))
        self.assertTrue(all(p["low"] <= p["mean"] <= p["high"] for p in curve["curve"]))
        self.assertEqual(curve["groups"][0]["from_us"], 0)

        # The first part was followed, left, and came back at the end: the bump.
        self.assertEqual(curve["cohort"], 50)
        observed = curve["observed"]
        self.assertEqual((observed[0]["snapshot"], observed[0]["listed"], observed[-1]["snapshot"]), (2, 1.0, last["snapshot"]))
        self.assertLess(observed[-2]["listed"], 1)
        self.assertGreater(observed[-1]["listed"], observed[-2]["listed"])
        self.assertGreater(observed[-1]["back"], 0)

        root = xml.etree.ElementTree.parse(svg).getroot()
        self.assertEqual(root.tag, SVG + "svg")
        words = " ".join(text.text or "" for text in root.iter(SVG + "text"))
        for piece in ("t_alive", "t_dead", "yes, still there", "listed", self.log):
            self.assertIn(piece, words)
        text = self.ok("snapshot", "curve", "--log", self.log, "--from", "3").text
        for piece in ("t_alive", "mean life", "t_dead", "snapshot 3,", "the bump"):
            self.assertIn(piece, text)
        self.assert_says(self.holdfast("snapshot", "curve", "--log", self.log, "--svg", f"{self.dir}/none/c.svg"), WRONG,
                         "c.svg")

        period = self.view("period", "--reads-per-s", "1000")[0]
        self.assertGreaterEqual(period["period_us"], period["least_us"])
        self.assertGreater(period["loads_per_s"], 0)
        self.assertIn("every", period["why"])
        self.assertEqual(self.view("period", "--fixed", "10min")[0]["period_us"], 600_000_000)
        self.assertRegex(self.ok("snapshot", "period", "--log", self.log).text, r"least .*\nmost .*\nchosen .*\nwhy +every")

        # By itself, as often as is best.
        words = [HOLDFAST, *self.config, "snapshot", "collect", "--log", self.log, "--every", "auto"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
        self.addCleanup(process.kill)
        self.assertIn(b"snapshot", process.stdout.readline())
        self.assertRegex(process.stdout.readline(), rb"^next every ")
        process.terminate()
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, OK)


if __name__ == "__main__":
    unittest.main()
