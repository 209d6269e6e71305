# SPDX-License-Identifier: Apache-2.0
"""Objects that are larger than what a node holds, read in chunks, and ranges of far objects, with real processes."""

import hashlib
import os
import random
import unittest

from far_server import FarServer
from harness import NOT_THERE, OK, USAGE, WRONG, Scratch

LARGE = 5_000_001  # larger than a segment; a node promises 512 KiB
CHUNK = 512 << 10
CHUNKS = -(-LARGE // CHUNK)


class Ranges(Scratch):
    def setUp(self):
        super().setUp()
        self.far = FarServer(self)
        rng = random.Random(20)
        self.large = rng.randbytes(LARGE)
        self.small = rng.randbytes(10_000)
        self.far.objects |= {"b/large": self.large, "b/small": self.small, "b/empty": b""}

    def start(self, nodes=3, far="", **options):
        far = f'[far]\ns3_endpoint = "{self.far.url}"\n{far}'
        self.nodes = self.cluster(nodes, config=far, client=far, **options)
        self.config = ["--config", self.nodes.client]
        return self.config

    def fetch(self, *words, **options):
        return self.ok(*self.config, "-q", "fetch", *words, **options).out

    def asked(self, name="b/large"):
        return self.far.count("GET", name)

    def loads(self):
        return [node["loads"] for node in self.ok(*self.config, "--json", "status").json()]

    # --- Large objects -----------------------------------------------------------------------------

    def test_a_large_object_is_loaded_by_all_nodes_and_read_as_one(self):
        self.start()
        chunk = 64 * 1024  # so many that no node is left out by chance
        chunks = -(-LARGE // chunk)
        listed = self.write("list", "s3://b/large\ns3://b/small\ns3://b/empty\n")
        done = self.ok(*self.config, "--set", f"chunk={chunk}", "--json", "run", listed, "--epochs", "2", "--wait")
        plan, first, second, total = done.json()
        self.assertEqual(plan["cut_objects"], 1)
        self.assertEqual(plan["objects"], chunks + 2)
        self.assertEqual(plan["too_large_objects"], 0)
        self.assertEqual(plan["bytes"], LARGE + len(self.small))
        for epoch in (first, second):
            self.assertEqual(epoch["bytes"], LARGE + len(self.small))
            self.assertEqual(epoch["failed"], 0)
            self.assertEqual(sum(epoch[f"{source}_objects"] for source in
                                 ("local", "own_disk", "peer", "through_home", "far")), 3)
            self.assertEqual(epoch["far_objects"], 0)
        self.assertEqual((total["compared"], total["differing"], total["wrong"]), (3, 0, 0))
        self.assertTrue(all(node["far_bytes"] >= CHUNK for node in self.loads()), self.loads())
        self.assertEqual(sum(node["far_bytes"] for node in self.loads()), LARGE + len(self.small))
        # Each chunk once, and the comparison with the source.
        self.assertEqual(self.asked(), chunks + 1)

    def test_over_a_directory(self):
        path = self.write("data/large", self.large)
        self.start(2)
        self.ok(*self.config, "run", f"{self.dir}/data", "--epochs", "2", "--wait")
        self.assertEqual(self.large, self.fetch(path))
        self.assertEqual(self.large[1_000_000:3_000_000], self.fetch(path, "--range", "1000000-2999999"))
        status = self.ok(*self.config, "--json", "status").json()
        self.assertEqual(sum(node["loads"]["far_bytes"] for node in status) >= LARGE, True)

    def test_over_a_web_server_that_has_no_listing(self):
        self.start(2)
        url = f"{self.far.url}/b/large"
        self.assertEqual(self.large, self.fetch(url))
        self.assertEqual(self.large[-5:], self.fetch(url, "--range", "-5"))
        listed = self.write("list", f"{url}\n{url}#bytes=100-2000099\n")
        done = self.ok(*self.config, "--json", "run", listed, "--epochs", "1", "--wait")
        self.assertEqual(done.json()[-1]["differing"], 0)

    def test_one_that_nobody_planned_comes_in_chunks_from_the_cluster(self):
        self.start()
        self.assertEqual(self.large, self.fetch("s3://b/large"))
        self.far.forget()
        again = self.fetch("s3://b/large")
        self.assertEqual(hashlib.md5(self.large).digest(), hashlib.md5(again).digest())
        # To see that it is large takes the first part at most for each whom we ask, and no chunk is far.
        self.assertLessEqual(self.asked(), 3)

    def test_files_of_large_objects_are_whole(self):
        self.start(2)
        self.fetch("s3://b/large", "s3://b/small", "-o", f"{self.dir}/out")
        self.assertEqual(self.large, self.read(f"{self.dir}/out/b/large"))
        self.assertEqual(self.small, self.read(f"{self.dir}/out/b/small"))

    def test_a_version_that_changes_is_an_error_and_never_a_mixture(self):
        self.start(2)
        old = self.ok(*self.config, "list", "s3://b/").text
        self.assertEqual(self.large, self.fetch("-", input="".join(
            line for line in old.splitlines(keepends=True) if "large" in line).encode()))
        self.ok(*self.config, "-q", "drop", "--prefix", "s3://b/large")
        self.far.objects["b/large"] = bytes(LARGE)
        done = self.holdfast(*self.config, "-q", "run", self.write("old", old), "--epochs", "1")
        self.assert_says(done, WRONG, "b/large", "changed|version")
        self.assertEqual(bytes(LARGE), self.fetch("s3://b/large"))

    def test_a_chunk_is_what_the_client_says_and_no_larger_than_what_nodes_promise(self):
        self.start(1)
        plan = self.ok(*self.config, "--json", "--set", "chunk=100KB", "plan", self.write("l", "s3://b/large\n")).json()[0]
        self.assertEqual(plan["objects"], -(-LARGE // (100_000 // 4096 * 4096)))
        whole = self.ok(*self.config, "--json", "--set", "chunk=0", "plan", f"{self.dir}/l").json()[0]
        self.assertEqual((whole["objects"], whole["cut_objects"], whole["too_large_objects"]), (1, 0, 1))
        self.assert_says(self.holdfast(*self.config, "--set", "chunk=1KiB", "plan", f"{self.dir}/l"), USAGE, "chunk")

    # --- Ranges --------------------------------------------------------------------------------------

    def test_a_range_is_loaded_without_the_rest_and_kept(self):
        self.start()
        self.far.forget()
        for words in (["s3://b/large", "--range", "4000000-4000999"], ["s3://b/large#bytes=4000000-4000999"]):
            self.assertEqual(self.large[4_000_000:4_001_000], self.fetch(*words))
        self.assertEqual(self.asked(), 1)
        self.assertEqual(sum(node["far_bytes"] for node in self.loads()), 1000)

    def test_a_range_of_what_is_in_the_own_memory_asks_nobody(self):
        self.start(1)
        listed = self.write("list", "s3://b/small\ns3://b/large\n")
        self.ok(*self.config, "-q", "hold", listed, "--for", "1h", "--wait")
        self.far.forget()
        self.assertEqual(self.small[17:5017], self.fetch("s3://b/small", "--range", "17-5016"))
        self.assertEqual(self.asked("b/small"), 0)

    def test_a_large_range_shares_its_chunks_with_the_whole(self):
        self.start(2)
        self.ok(*self.config, "-q", "hold", self.write("list", "s3://b/large\n"), "--for", "1h", "--wait")
        before = sum(node["far_bytes"] for node in self.loads())
        begin, end = CHUNK - 10, 4 * CHUNK + 20
        listed = self.write("ranges", f"s3://b/large#bytes={begin}-{end - 1}\n")
        done = self.ok(*self.config, "--json", "run", listed, "--epochs", "1", "--wait")
        self.assertEqual(done.json()[-1]["differing"], 0)
        self.assertEqual(sum(node["far_bytes"] for node in self.loads()) - before, 10 + 20)
        self.assertEqual(self.large[begin:end], self.fetch("s3://b/large", "--range", f"{begin}-{end - 1}"))

    def test_ranges_in_lists_are_objects(self):
        self.start(2)
        names = [f"s3://b/large#bytes={i * 3000}-{i * 3000 + 999}" for i in range(200)]
        listed = self.write("list", "".join(f"{name}\n" for name in names))
        done = self.ok(*self.config, "--json", "run", listed, "--epochs", "2", "--wait")
        self.assertEqual(done.json()[0]["objects"], 200)
        self.assertEqual(done.json()[-1]["differing"], 0)
        self.assertEqual(sum(node["far_bytes"] for node in self.loads()), 200_000)
        self.assertEqual(self.far.count("HEAD", "b/large"), 1, "one look tells the version of all")
        self.fetch("-", "-o", f"{self.dir}/out", input=self.read(listed))
        self.assertEqual(self.large[3000:4000], self.read(f"{self.dir}/out/b/large#bytes=3000-3999"))

    def test_ranges_that_there_are_not(self):
        self.start(1)
        size = r"10000 bytes"
        for words, code, pieces in (
            (["s3://b/small", "--range", "9000-10000"], USAGE, [size, "b/small#bytes=9000-10000"]),
            (["s3://b/small", "--range", "50000-50001"], USAGE, [size, "b/small"]),
            (["s3://b/small", "--range", "50000-"], USAGE, [size]),
            (["s3://b/small", "--range", "5-4"], USAGE, ["FIRST-LAST"]),
            (["s3://b/small", "--range", "0-99999999999999999999"], USAGE, ["FIRST-LAST"]),
            (["s3://b/small", "--range", "x"], USAGE, ["FIRST-LAST"]),
            (["s3://b/small", "--range", ""], USAGE, ["FIRST-LAST"]),
            (["s3://b/empty", "--range", "0-0"], USAGE, ["0 bytes"]),
            (["s3://b/empty", "--range", "-1"], USAGE, ["0 bytes"]),
            (["s3://b/none", "--range", "0-0"], NOT_THERE, ["b/none"]),
            (["s3://b/small#bytes=1-2", "--range", "0-0"], USAGE, ["small", "FIRST-LAST"]),
        ):
            self.assert_says(self.holdfast(*self.config, "fetch", *words), code, *pieces)
        self.assertEqual(self.small[9000:], self.fetch("s3://b/small", "--range", "9000-"))
        self.assertEqual(self.small[-1000:], self.fetch("s3://b/small", "--range", "-1000"))
        self.assertEqual(self.small, self.fetch("s3://b/small", "--range", "-99999"))

    def test_a_range_of_a_packed_object_comes_out_of_its_pack(self):
        s3 = ["--s3-endpoint", self.far.url]
        self.far.objects |= {f"b/src/{i}": self.small[i:] for i in range(50)}
        self.ok(*s3, "-q", "pack", "s3://b/src/", "s3://b/packs")
        for i in range(50):
            del self.far.objects[f"b/src/{i}"]
        self.start(1, far='packed = ["s3://b/packs/"]\n')
        self.assertEqual(self.small[17:27], self.fetch("s3://b/src/7", "--range", "10-19"))
        listed = self.write("list", "s3://b/src/7#bytes=100-199\n")
        self.ok(*self.config, "-q", "run", listed, "--epochs", "1", "--no-verify")


if __name__ == "__main__":
    unittest.main()
