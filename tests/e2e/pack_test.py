# SPDX-License-Identifier: Apache-2.0
"""Small far objects in packs: written by `holdfast pack`, read by their own names, with real processes."""

import os
import random
import subprocess
import unittest

from far_server import FarServer
from harness import HOLDFAST, NO_ACCESS, OK, USAGE, WRONG, Scratch, wait_for

MANY = 2000


class Packs(Scratch):
    def setUp(self):
        super().setUp()
        self.far = FarServer(self)
        rng = random.Random(11)
        self.sources = {f"b/src/{i % 7}/{i:04}": rng.randbytes(rng.randrange(0, 20_000)) for i in range(MANY)}
        self.far.objects.update(self.sources)
        self.bytes = sum(map(len, self.sources.values()))
        self.s3 = ["--s3-endpoint", self.far.url]

    def pack(self, *more, code=OK):
        done = self.holdfast(*self.s3, "--json", "pack", "s3://b/src/", "s3://b/packs", "--pack-size", "1MiB", *more)
        self.assertEqual(done.code, code, done)
        return done

    def packs(self):
        return [name for name in self.far.objects if name.startswith("b/packs/") and name.endswith(".pack")]

    def start(self, nodes=1, settings=()):
        far = f'[far]\ns3_endpoint = "{self.far.url}"\npacked = ["s3://b/packs/"]\n'
        self.nodes = self.cluster(nodes, config=far, client=far, settings=["memory.limit=128MiB", *settings])
        self.config = ["--config", self.nodes.client]
        for node in self.nodes.nodes:  # until then it asks as if nothing was packed
            wait_for(lambda: "packs: " in node.said() or "is not used" in node.said(), "the index, or that there is none")

    def fetch_all(self):
        listed = self.write("names", "".join(f"s3://{name}\n" for name in sorted(self.sources)))
        self.ok(*self.config, "-q", "fetch", "-", "-o", f"{self.dir}/out", input=self.read(listed))
        self.check_out()

    def check_out(self):
        for name, content in self.sources.items():
            self.assertEqual(content, self.read(f"{self.dir}/out/{name}"), name)

    def hold_all(self):
        """Has the nodes load everything, and waits for it."""
        self.ok(*self.config, "-q", "hold", "s3://b/src/", "--for", "1h", "--wait")

    def status(self):
        return self.ok(*self.config, "--json", "status").json()

    def test_a_list_costs_one_request_for_each_pack(self):
        report = self.pack().json()[-1]
        self.assertEqual(report["objects"], MANY)
        self.assertEqual(report["bytes"], self.bytes)
        self.assertEqual(report["packs_written"], len(self.packs()))
        self.start(settings=["far.micro_usd_per_gb=0"])
        self.far.forget()
        done = self.ok(*self.config, "--json", "run", "s3://b/src/", "--epochs", "1", "--wait")
        self.assertEqual(done.json()[-1]["differing"], 0, done)
        self.assertEqual(done.json()[0]["far_requests_ahead"], len(self.packs()))
        # Each byte was compared with its source, which cost a request for each object.
        requests = self.far.count("GET", "b/packs/") - self.far.count("GET", "b/packs/index")
        self.assertLessEqual(requests, 2 * len(self.packs()))
        self.assertLessEqual(self.far.count("GET", "b/src/"), MANY)
        self.assertEqual(sum(node["loads"]["far_requests"] for node in self.status()), requests)

    def test_objects_have_their_own_names_and_nothing_is_asked_of_the_source(self):
        self.pack()
        for name in self.sources:
            del self.far.objects[name]  # what is left are the packs
        self.start(nodes=3, settings=["far.micro_usd_per_gb=0"])
        self.far.forget()
        self.fetch_all()
        self.assertEqual(self.far.count("GET", "b/src/") + self.far.count("HEAD", "b/src/"), 0)

    def test_nodes_that_share_a_list_share_it_by_packs(self):
        """Bytes are billed, so that no node reads over what another one loads."""
        self.pack()
        self.start(nodes=3)
        self.far.forget()
        self.hold_all()
        requests = self.far.count("GET", "b/packs/") - self.far.count("GET", "b/packs/index")
        # A node takes no more than its share, so that some packs have two that load of them.
        self.assertLessEqual(requests, 2 * len(self.packs()))
        self.assertEqual(self.far.count("GET", "b/src/"), 0)
        loaded = [node["loads"]["far_requests"] for node in self.status()]
        self.assertEqual(sum(loaded), requests)
        self.assertTrue(all(loaded), loaded)

    def test_dry_run_says_requests_and_money_and_writes_nothing(self):
        plan = self.pack("--dry-run").json()[-1]
        self.assertEqual(plan["objects"], MANY)
        self.assertEqual(plan["before"]["requests"], MANY)
        self.assertEqual(plan["after"]["requests"], plan["packs"])
        self.assertLess(plan["after"]["micro_usd"], plan["before"]["micro_usd"])
        self.assertEqual(self.far.count("PUT", ""), 0)
        self.assertEqual(self.far.count("GET", "b/src"), 0)
        text = self.ok(*self.s3, "pack", "s3://b/src/", "s3://b/packs", "--dry-run").text
        self.assertRegex(text, r"out of packs +\d+ requests .*\$")

    def test_a_killed_packer_goes_on_and_writes_no_finished_pack_again(self):
        words = [HOLDFAST, *self.s3, "-q", "pack", "s3://b/src/", "s3://b/packs", "--pack-size", "1MiB"]
        packer = subprocess.Popen(words, env=self.environment, cwd=self.dir, stdin=subprocess.DEVNULL)
        self.far.on_put = lambda _: packer.kill() if len(self.packs()) >= 4 else None
        packer.wait(60)
        self.far.on_put = None
        self.assertNotEqual(packer.returncode, 0)
        self.assertNotIn("b/packs/index", self.far.objects)
        wait_for(lambda: self.far.puts_under_way == 0, "the end of what was under way")
        finished = set(self.packs())
        self.assertGreaterEqual(len(finished), 4)
        self.far.forget()
        report = self.pack().json()[-1]
        self.assertEqual(report["packs_found"], len(finished))
        self.assertEqual(report["objects"], MANY)
        for name in finished:
            self.assertEqual(self.far.count("PUT", name), 0, name)
        self.assertLess(self.far.count("GET", "b/src/"), MANY)
        self.start()
        self.fetch_all()

    def test_a_damaged_index_is_said_and_objects_come_from_their_source(self):
        self.pack()
        index = bytearray(self.far.objects["b/packs/index"])
        index[100] ^= 1
        self.far.objects["b/packs/index"] = bytes(index)
        self.start()
        self.far.forget()
        self.fetch_all()
        self.assertEqual(self.far.count("GET", "b/packs/"), self.far.count("GET", "b/packs/index"))
        self.assertRegex(self.nodes.nodes[0].said(), r"the index of packs .*/packs/index is not used: .*damaged")

    def test_damaged_cut_off_and_missing_packs_cost_requests_but_no_byte(self):
        self.pack()
        damaged, cut, missing = sorted(self.packs())[:3]
        self.far.objects[damaged] = bytes(b ^ 1 for b in self.far.objects[damaged])
        self.far.objects[cut] = self.far.objects[cut][:5000]
        del self.far.objects[missing]
        self.start(nodes=2)
        self.far.forget()
        self.fetch_all()
        self.assertGreater(self.far.count("GET", "b/src/"), 0)
        said = "".join(node.said() for node in self.nodes.nodes)
        for name in (damaged, cut, missing):
            self.assertIn(name, said)

    def test_an_object_that_changed_is_read_at_its_source_until_it_is_packed_again(self):
        self.pack()
        name = "b/src/3/0003"
        self.sources[name] = self.far.objects[name] = b"changed" * 100
        self.start()
        self.far.forget()
        done = self.ok(*self.config, "--json", "run", "s3://b/src/", "--epochs", "1")
        self.assertEqual(done.json()[-1]["differing"], 0, done)
        self.far.forget()
        report = self.pack().json()[-1]
        self.assertEqual((report["packs_written"], report["packs_unnamed"]), (1, 1))

    def test_a_store_that_refuses_writes_is_said(self):
        self.far.refuse_writes = True
        done = self.pack(code=NO_ACCESS)
        self.assert_says(done, NO_ACCESS, r"packs/[0-9a-f]{32}\.pack", "AccessDenied|credentials|write")

    def test_directories_are_packed_and_read_too(self):
        for i in range(300):
            self.write(f"tree/{i:04}", self.sources[f"b/src/{i % 7}/{i:04}"])
        self.ok("-q", "pack", f"{self.dir}/tree", f"{self.dir}/packs", "--order", "given")
        again = self.ok("--json", "pack", f"{self.dir}/tree", f"{self.dir}/packs", "--order", "given").json()[-1]
        self.assertEqual(again["packs_written"], 0)
        far = f'[far]\npacked = ["{self.dir}/packs"]\n'
        nodes = self.cluster(1, config=far, client=far)
        # Reads that come first are gathered a millisecond at a time, and cost as many requests as they need.
        done = self.ok("--config", nodes.client, "--json", "run", f"{self.dir}/tree", "--epochs", "1", "--wait")
        self.assertEqual(done.json()[-1]["differing"], 0, done)
        status = self.ok("--config", nodes.client, "--json", "status").json()[0]
        self.assertLess(status["far"]["gets"], 10)  # of 300 objects

    def test_a_directory_that_cannot_be_written(self):
        self.write("tree/a", "x")
        self.write("file", "not a directory")
        done = self.holdfast("pack", f"{self.dir}/tree", f"{self.dir}/file/packs")
        self.assertNotEqual(done.code, OK)
        self.assertRegex(done.said, "file")

    def test_arguments_that_cannot_be_right(self):
        self.assert_says(self.holdfast(*self.s3, "pack", "s3://b/src/", "s3://b/src/"), USAGE, "another place")
        self.assert_says(self.holdfast(*self.s3, "pack", "s3://b/src/", "s3://b/p", "--pack-size", "1"), USAGE,
                         "pack-size")
        self.assert_says(self.holdfast(*self.s3, "pack", "s3://b/src/", "http://h/p"), USAGE, "web server")


if __name__ == "__main__":
    unittest.main()
