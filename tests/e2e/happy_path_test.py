# SPDX-License-Identifier: Apache-2.0
"""What a user does, with three nodes and a directory of files."""

import os
import random
import signal
import unittest

from harness import NOT_REACHED, Cluster, Scratch, wait_for

NAMES = ["with space", "plus+sign", "100%", "%41 is not A", "ünïcödé", "漢字", "quote'\"", "a=b&c?d#e", "~tilde", "*star",
         "back\\slash", "-dash", "semi;colon", "[brackets]"]


def make_tree(test, count=300):
    """Files of 0 B to 300 KB in several folders; some have equal content. Their bytes, by path."""
    rng = random.Random(7)
    twin = rng.randbytes(5000)
    files = {}
    for i in range(count):
        name = f"{NAMES[i % len(NAMES)]} {i}" if i < 3 * len(NAMES) else f"file-{i}"
        size = 0 if i % 50 == 0 else rng.choice([1, 17, 1000, 4096, 20_000]) if i % 30 else 300_000
        content = twin if i % 40 == 3 else rng.randbytes(size)
        path = test.write(f"tree/folder {i % 5}/{name}", content)
        files[path] = content
    return files


class HappyPath(Scratch):
    def setUp(self):
        super().setUp()
        self.files = make_tree(self)
        self.tree = os.path.join(self.dir, "tree")
        self.up = os.path.join(self.dir, "cluster")
        self.addCleanup(self.holdfast, "cluster", "down", "--dir", self.up)
        started = self.ok("--json", "cluster", "up", "--dir", self.up, "--nodes", "3", "--memory", "64MiB",
                          "--node-set", "memory.segment=1MiB", "--node-set", "memory.max_object=512KiB").json()
        self.assertEqual(started[0]["nodes"], 3)
        self.config = ["--config", started[0]["config"]]

    def test_a_list_is_planned_and_read_twice(self):
        total = sum(map(len, self.files.values()))
        plan = self.ok(*self.config, "--json", "plan", self.tree).json()[0]
        self.assertEqual((plan["objects"], plan["bytes"]), (len(self.files), total))
        self.assertEqual((plan["load_objects"], plan["far_objects"]), (len(self.files), 0), "nothing is there yet")
        self.assertEqual([node["answered"] for node in plan["nodes"]], [True] * 3)

        planned, first, second, sum_ = self.ok(*self.config, "--json", "run", self.tree, "--epochs", "2").json()
        self.assertEqual(planned["load_objects"], len(self.files), "a plan reserves and loads nothing")
        self.assertEqual(first["failed"], 0)
        self.assertEqual(first["far_requests"], len(self.files), "each object is fetched once in the whole cluster")
        self.assertEqual(second["local_objects"] + second["peer_objects"], len(self.files))
        self.assertEqual((second["far_requests"], second["far_objects"], second["failed"]), (0, 0, 0))
        self.assertEqual((sum_["reads"], sum_["bytes"]), (2 * len(self.files), 2 * total))
        self.assertEqual((sum_["compared"], sum_["differing"], sum_["wrong"]), (len(self.files), 0, 0))

        again = self.ok(*self.config, "run", self.tree, "--epochs", "1", "--in-order", "--wait")
        self.assertIn("in the cluster", again.text)
        self.assertRegex(again.text, r"far requests 0")
        self.assertRegex(again.text, r"compared with their source .*: 0 differ")

    def test_list_and_fetch(self):
        listed = self.ok(*self.config, "list", self.tree)
        lines = [line.split("\t") for line in listed.text.splitlines()]
        self.assertEqual(len(lines), len(self.files))
        self.assertEqual(sum(int(size) for _, size, _ in lines), sum(map(len, self.files.values())))
        objects = self.ok(*self.config, "--json", "list", self.tree).json()
        self.assertEqual([o["name"] for o in objects], [uri for uri, _, _ in lines])
        self.assertEqual([o["etag"] for o in objects], [etag for _, _, etag in lines])

        # One object by its path, and by the name in the list.
        path = next(p for p in self.files if "plus+sign" in p)
        self.assertEqual(self.ok(*self.config, "fetch", path).out, self.files[path])
        name = next(o["name"] for o in objects if "plus%2Bsign" in o["name"])
        self.assertEqual(self.ok(*self.config, "fetch", name).out, self.read(
            next(p for p in self.files if p.endswith(name.rsplit("%20", 1)[-1]) and "plus+sign" in p)))

        # A whole list into files, then to standard output in the list's order.
        out = os.path.join(self.dir, "out")
        fetched = self.ok(*self.config, "--json", "fetch", "-", "-o", out, input=listed.out).json()
        self.assertEqual(len(fetched), len(self.files))
        for path, content in self.files.items():
            self.assertEqual(self.read(out + path), content, path)
        by_name = {o["name"]: o["file"] for o in fetched}
        some = listed.out.splitlines(keepends=True)[:20]
        self.assertEqual(self.ok(*self.config, "fetch", "-", input=b"".join(some)).out,
                         b"".join(self.read(by_name[line.split(b"\t")[0].decode()]) for line in some))

    def test_paths_are_those_of_the_shell(self):
        """Programs run in the scratch directory."""
        count = len(self.files)
        self.assertEqual(len(self.ok(*self.config, "list", "tree").text.splitlines()), count)
        self.assertEqual(self.ok(*self.config, "--json", "run", "tree", "--epochs", "1").json()[-1]["reads"], count)
        path = next(p for p in self.files if "plus+sign" in p)
        self.assertEqual(self.ok(*self.config, "fetch", os.path.relpath(path, self.dir)).out, self.files[path])
        self.assertEqual(self.ok(*self.config, "--json", "drop", os.path.relpath(path, self.dir)).json()[0]["dropped_objects"], 1)
        self.assertEqual(self.ok(*self.config, "--json", "drop", "--prefix", "tree").json()[0]["dropped_objects"], count - 1)

    def test_a_run_of_a_list_file_and_of_standard_input(self):
        listed = self.ok(*self.config, "list", self.tree)
        names = b"# names without versions, and one twice\n\n" + b"".join(
            line.split(b"\t")[0] + b"\n" for line in listed.out.splitlines())
        twice = names + listed.out.splitlines()[0].split(b"\t")[0] + b"\n"
        objects = self.ok(*self.config, "--json", "run", self.write("list", twice), "--epochs", "1").json()
        self.assertEqual(objects[0]["objects"], len(self.files), "distinct objects")
        self.assertEqual((objects[-1]["reads"], objects[-1]["wrong"]), (len(self.files) + 1, 0))
        self.assertEqual(self.ok(*self.config, "--json", "run", "-", "--epochs", "1", input=names).json()[-1]["reads"],
                         len(self.files))

    def test_hold_release_drop_and_status(self):
        # For less than a lease is by default, too.
        short = self.ok(*self.config, "--json", "hold", self.tree, "--for", "2s").json()[0]
        self.ok(*self.config, "release", short["job"])
        held = self.ok(*self.config, "--json", "hold", self.tree, "--for", "10min", "--wait").json()[0]
        self.assertEqual((held["objects"], held["far_objects"]), (len(self.files), 0))
        nodes = self.ok(*self.config, "--json", "status").json()
        self.assertEqual([node["node"] for node in nodes], [1, 2, 3])
        self.assertEqual(sum(node["memory"]["live_objects"] for node in nodes), len(self.files))
        self.assertEqual(sum(node["memory"]["held_objects"] for node in nodes), len(self.files))
        self.assertEqual(sum(node["loads"]["far_requests"] for node in nodes), len(self.files))
        self.assertEqual([[peer["node"] for peer in node["peers"]] for node in nodes], [[2, 3], [1, 3], [1, 2]])

        kept = self.ok(*self.config, "--json", "drop", "--prefix", self.tree).json()[0]
        self.assertEqual((kept["nodes"], kept["dropped_objects"], kept["held_objects"]), (3, 0, len(self.files)))
        self.assertEqual(self.ok(*self.config, "--json", "release", held["job"]).json()[0]["released"], True)
        some = sorted(self.files)[:4]
        dropped = self.ok(*self.config, "--json", "drop", *some).json()[0]
        self.assertEqual((dropped["dropped_objects"], dropped["dropped_bytes"]),
                         (4, sum(len(self.files[path]) for path in some)))
        dropped = self.ok(*self.config, "--json", "drop", "--prefix", self.tree).json()[0]
        self.assertEqual((dropped["dropped_objects"], dropped["held_objects"]), (len(self.files) - 4, 0))
        self.assertRegex(self.ok(*self.config, "status").text, r"node 3\n +memory +0 B of .*, 0 objects")
        self.assertEqual(self.ok(*self.config, "drop", some[0]).text,
                         "3 nodes dropped 0 objects, 0 B; 0 are held and stay\n")

    def test_the_local_cluster_is_found_and_ends(self):
        status = self.ok("--json", "cluster", "status", "--dir", self.up).json()
        self.assertEqual([node["node"] for node in status], [1, 2, 3])
        os.kill(status[1]["pid"], signal.SIGKILL)  # what it leaves behind goes with the others
        wait_for(lambda: self.holdfast("--json", "cluster", "status", "--dir", self.up).json()[1]["pid"] == 0, "its end")
        self.assertEqual(self.holdfast("cluster", "status", "--dir", self.up).code, NOT_REACHED)
        again = self.holdfast("cluster", "up", "--dir", self.up)
        self.assert_says(again, 5, "runs in .* already", "cluster down", "--dir")
        self.ok("cluster", "down", "--dir", self.up)
        for node in status:
            # It has ended; the machine's first process waits for it some time.
            wait_for(lambda: not os.path.exists(f"/proc/{node['pid']}/status"), f"the end of {node}")
        self.assertEqual([n for n in os.listdir("/dev/shm") if self.up.replace("/", "-") in n], [],
                         "a daemon that ended leaves nothing in memory")
        self.assertEqual(self.ok("-q", "cluster", "up", "--nodes", "1", "--memory", "64MiB").text, "")
        self.addCleanup(self.holdfast, "cluster", "down")
        path = next(iter(self.files))
        self.assertEqual(self.ok("fetch", path).out, self.files[path], "without --config: that of the cluster that is up")
        self.assertEqual(self.ok("--json", "status").json()[0]["memory"]["live_objects"], 1)

    def test_without_a_cluster_everything_is_read_far_away(self):
        done = self.ok("--config", self.write("alone.toml", ""), "--json", "run", self.tree, "--epochs", "1").json()
        self.assertEqual((done[0]["far_objects"], done[1]["far_objects"], done[2]["wrong"]), (len(self.files),) * 2 + (0,))


class LongestHold(Scratch):
    def test_a_hold_says_for_how_long_the_nodes_promised(self):
        """Not for how long somebody asked: a node keeps nothing for longer than its limits.max_hold."""
        nodes = Cluster(self, 2)
        nodes.nodes[1].settings = ["limits.max_hold=90s"]
        nodes.start()
        for i in range(50):
            self.write(f"tree/{i}", os.urandom(100))
        config = ["--config", nodes.client]
        done = self.ok(*config, "hold", f"{self.dir}/tree", "--for", "100000d")
        self.assertRegex(done.text, r"Held for 1 min 30 s as job")
        self.assertRegex(done.said, r"not for 2400000 h 0 min: .* at most 1 min 30 s; raise limits\.max_hold")
        done = self.ok(*config, "--json", "hold", f"{self.dir}/tree", "--for", "100000d")
        self.assertEqual(done.json()[0]["held_for_us"], 90_000_000)
        self.assertIn("limits.max_hold", done.said)
        done = self.ok(*config, "--json", "hold", f"{self.dir}/tree", "--for", "80s")
        self.assertEqual(done.json()[0]["held_for_us"], 80_000_000)
        self.assertNotIn("limits.max_hold", done.said)


class DryRun(Scratch):
    def test_a_plan_says_what_a_hold_then_gets(self):
        """Also when it is the index that is full long before the memory."""
        nodes = self.cluster(2)
        config = ["--config", nodes.client, "--json"]
        names = self.write("list", "".join(f"http://127.0.0.1:9/o/{i}\t200\tetag{i}\n" for i in range(100_000)))
        planned = self.holdfast(*config, "plan", names).json()[0]
        held = self.holdfast(*config, "hold", names, "--for", "1min").json()[0]
        self.assertGreater(held["far_objects"], 10_000)
        self.assertGreater(held["load_objects"], 10_000)
        self.assertAlmostEqual(planned["load_objects"], held["load_objects"], delta=held["load_objects"] // 10)


if __name__ == "__main__":
    unittest.main()
