# SPDX-License-Identifier: Apache-2.0
"""Lists and objects that cannot be read, or not as they were planned."""

import os
import shutil
import unittest

from harness import CACHED, HOLDFAST, NO_ACCESS, NOT_THERE, OK, USAGE, WRONG, Cluster, Scratch


class BadLists(Scratch):
    """One node is enough; it must still answer after each of them."""

    def setUp(self):
        super().setUp()
        self.nodes = self.cluster(1)
        self.config = ["--config", self.nodes.client]
        self.addCleanup(lambda: self.assertTrue(self.nodes.nodes[0].running(), self.nodes.nodes[0].said()))
        self.good = [self.write(f"objects/{i}", bytes([i]) * 1000 * i) for i in range(1, 6)]

    def run_list(self, content, *options):
        return self.holdfast(*self.config, *options, "run", self.write("list", content), "--epochs", "1")

    def test_empty(self):
        os.makedirs(f"{self.dir}/nothing")
        self.assert_says(self.run_list(""), USAGE, "list", "is empty", "one object per line")
        self.assert_says(self.run_list("# only a comment\n\n"), USAGE, "is empty")
        self.assert_says(self.holdfast(*self.config, "run", "-", input=b""), USAGE, "standard input|list -", "is empty")
        self.assert_says(self.holdfast(*self.config, "run", f"{self.dir}/nothing"), NOT_THERE, "no objects below .*nothing")
        self.assert_says(self.holdfast(*self.config, "hold", f"{self.dir}/nothing"), NOT_THERE, "no objects below .*nothing")
        self.assert_says(self.holdfast(*self.config, "list", f"{self.dir}/nothing"), NOT_THERE, "no objects below .*nothing")

    def test_duplicates_are_read_as_often_as_they_stand_there(self):
        done = self.run_list("\n".join(self.good * 3), "--json").json()
        self.assertEqual((done[0]["objects"], done[-1]["reads"], done[-1]["far_requests"]), (5, 15, 5))

    def test_two_versions_of_one_object(self):
        done = self.run_list(f"{self.good[0]}\t1000\tone\n{self.good[0]}\t1000\ttwo\n")
        self.assert_says(done, USAGE, self.good[0], "version")

    def test_lines_that_are_no_objects(self):
        for line, pieces in (("relative/path", ["relative/path", "absolute"]),
                             ("ftp://host/x", ["ftp://host/x", "s3"]),
                             ("/a\tmany\tetag", ["line 2", "URI<TAB>SIZE<TAB>ETAG"]),
                             ("/a\t1", ["line 2", "URI<TAB>SIZE<TAB>ETAG"]),
                             ("/a\0b", ["line 2", "NUL"]),
                             ("/" + "x" * 5000, ["line 2", "5001 bytes", "4096"])):
            with self.subTest(line[:40]):
                self.assert_says(self.run_list(f"# a list\n{line}\n"), USAGE, *pieces)

        self.assert_says(self.holdfast("--set", "far.aws_settings=false", "run", "-", input=b"s3://bucket/key"), USAGE,
                         "s3://bucket/key", "endpoint")

    def test_names_with_a_newline(self):
        path = self.write("odd/new\nline\tand tab", b"found")
        self.assertEqual(self.ok(*self.config, "fetch", path).out, b"found")
        listed = self.ok(*self.config, "list", f"{self.dir}/odd")
        self.assertIn("new%0Aline%09and%20tab", listed.text)
        self.assertEqual(self.run_list(listed.out).code, OK)
        self.ok(*self.config, "fetch", "-", "-o", f"{self.dir}/out", input=listed.out)
        self.assertEqual(self.read(f"{self.dir}/out{path}"), b"found")

    def test_missing(self):
        gone = f"{self.dir}/objects/gone"
        self.assert_says(self.run_list("\n".join([*self.good, gone])), NOT_THERE, gone)
        # All that can be had are written, and the missing one is named.
        some = self.holdfast(*self.config, "fetch", self.good[0], gone, self.good[1])
        self.assert_says(some, NOT_THERE, gone)
        self.assertEqual(some.out, self.read(self.good[0]) + self.read(self.good[1]))
        # It was there when it was listed.
        listed = self.ok(*self.config, "list", f"{self.dir}/objects").out
        os.unlink(self.good[2])
        done = self.run_list(listed, "--json")
        self.assertEqual(done.code, WRONG, done)
        self.assertEqual(done.said.count(self.good[2]), 1, done.said)
        twice = self.holdfast(*self.config, "run", self.write("list", listed), "--epochs", "3")
        self.assertEqual(twice.said.count(self.good[2]), 1, twice.said)
        self.assertEqual((done.json()[1]["failed"], done.json()[2]["wrong"]), (1, 1))

    def test_missing_while_a_list_is_loaded(self):
        """Who waits for a hold hears that it is not whole."""
        names = self.write("list", self.ok(*self.config, "list", f"{self.dir}/objects").out)
        os.unlink(self.good[2])
        self.assert_says(self.holdfast(*self.config, "hold", names, "--for", "1min", "--wait"), WRONG, "1 of 5 objects",
                         "not held")

    def test_changed_since_it_was_listed(self):
        listed = self.ok(*self.config, "list", f"{self.dir}/objects").out
        self.write("objects/2", b"other bytes")  # another size
        self.write("objects/3", b"x" * 3000)  # the same size
        done = self.run_list(listed, "--json")
        self.assertEqual(done.code, WRONG, done)
        for number in ("2", "3"):
            self.assertRegex(done.said, f"objects/{number}.*(changed|is no longer)")
        self.assertEqual((done.json()[1]["failed"], done.json()[2]["wrong"]), (2, 2))
        self.assertEqual(self.run_list(self.ok(*self.config, "list", f"{self.dir}/objects").out).code, OK,
                         "listing again is what helps")

    def test_gone_after_it_was_loaded(self):
        names = self.write("list", self.ok(*self.config, "list", f"{self.dir}/objects").out)
        self.ok(*self.config, "hold", names, "--for", "1min", "--wait")
        os.unlink(self.good[2])
        done = self.holdfast(*self.config, "run", names)
        self.assert_says(done, WRONG, self.good[2], "cannot be compared with its source")

    def test_changed_before_it_was_fetched(self):
        """The version that the list names, or none, whether a node has it or nobody."""
        held = self.ok(*self.config, "list", f"{self.dir}/objects").out
        self.ok(*self.config, "fetch", "-", "-o", f"{self.dir}/out", input=held)
        self.write("objects/2", b"other bytes")
        listed = self.ok(*self.config, "list", f"{self.dir}/objects/2").out
        self.assertEqual(self.ok(*self.config, "fetch", "-", input=listed).out, b"other bytes")
        self.write("objects/2", b"third bytes, of a third length")
        self.assertEqual(self.ok(*self.config, "fetch", "-", input=listed).out, b"other bytes", "a node has it")
        done = self.holdfast(*self.config, "fetch", "-", input=listed.replace(b"\t11\t", b"\t12\t"))
        self.assert_says(done, WRONG, "objects/2", "changed|is no longer")

    def test_larger_than_a_segment_and_than_all_of_memory(self):
        self.write("large/segment", os.urandom(2 << 20))
        with open(f"{self.dir}/large/memory", "wb") as file:
            file.write(b"begins")
            file.truncate(100 << 20)
        self.write("large/small", b"small")
        uncut = ["--set", "chunk=0"]
        done = self.ok(*self.config, *uncut, "--json", "run", f"{self.dir}/large", "--epochs", "2").json()
        self.assertEqual((done[0]["too_large_objects"], done[0]["far_objects"], done[0]["load_objects"]), (2, 2, 1))
        self.assertEqual((done[2]["far_objects"], done[2]["local_objects"], done[3]["wrong"]), (2, 1, 0))
        plan = self.ok(*self.config, *uncut, "plan", f"{self.dir}/large").text
        self.assertRegex(plan, "larger than a node takes: raise memory.segment or memory.max_object")
        self.assertEqual(len(self.ok(*self.config, *uncut, "fetch", f"{self.dir}/large/memory").out), 100 << 20)
        # In chunks some of them fit.
        done = self.ok(*self.config, "--json", "run", f"{self.dir}/large", "--epochs", "2").json()
        self.assertEqual((done[0]["too_large_objects"], done[0]["cut_objects"], done[0]["objects"]), (0, 2, 205))
        self.assertGreater(done[0]["far_objects"], 0)
        self.assertGreater(done[0]["load_objects"], 10)
        self.assertEqual((done[2]["failed"], done[3]["wrong"]), (0, 0))
        self.assertEqual(len(self.ok(*self.config, "fetch", f"{self.dir}/large/memory").out), 100 << 20)


class NothingPromised(Scratch):
    def test_what_homes_fetch_is_not_passed_off_as_saved(self):
        """A node without memory for plans promises nothing: its requests as a home are nobody's in particular."""
        config = ["--config", self.cluster(1, settings=["memory.planning=0"]).client]
        for i in range(5):
            self.write(f"objects/{i}", b"bytes")
        ran = self.ok(*config, "run", f"{self.dir}/objects")
        self.assertRegex(ran.text, r"Epoch 1(.*\n){2}  far requests 0, 0 B and up to 5 by homes;")
        self.assertRegex(ran.text, r"Total .* and up to 10 by homes; saved at most \$")
        again = self.ok(*config, "--json", "run", f"{self.dir}/objects").json()[3]
        self.assertEqual(again["through_home_reads"], 10)


class NoPermission(Scratch):
    """As a user who may not read something. Programs are copied to where that user may run them."""

    def setUp(self):
        super().setUp()
        os.chmod(self.dir, 0o755)
        os.chmod(self.state, 0o777)
        self.other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
        self.program = shutil.copy(HOLDFAST, self.dir)
        self.secret = self.write("objects/secret", b"secret")
        os.chmod(self.secret, 0)
        self.write("objects/open", b"open")

    def as_other(self, *words):
        return self.run_program(self.program, *words, prefix=self.other)

    def test_an_object(self):
        alone = ["--config", self.write("alone.toml", "")]
        self.assert_says(self.as_other(*alone, "fetch", self.secret), NO_ACCESS, self.secret, "[Pp]ermission")
        # In a run it is one of many objects: the others are read.
        self.assert_says(self.as_other(*alone, "run", f"{self.dir}/objects"), WRONG, self.secret, "[Pp]ermission")

    def test_a_list_and_a_folder(self):
        alone = ["--config", self.write("alone.toml", "")]
        os.makedirs(f"{self.dir}/closed")
        os.chmod(f"{self.dir}/closed", 0)
        self.assert_says(self.as_other(*alone, "run", self.secret), NO_ACCESS, self.secret, "Permission denied")
        self.assert_says(self.as_other(*alone, "list", f"{self.dir}/closed"), NO_ACCESS, "closed", "[Pp]ermission")
        os.chmod(f"{self.dir}/closed", 0o755)

    def test_the_configuration(self):
        config = self.write("closed.toml", "")
        os.chmod(config, 0)
        self.assert_says(self.as_other("--config", config, "status"), NO_ACCESS, "closed.toml", "Permission denied")

    def test_a_node_that_belongs_to_somebody_else(self):
        if not self.other:  # then everybody here is one user; the object below stands for the rest
            return self.test_an_object()
        nodes = self.cluster(1)
        done = self.as_other("--config", nodes.client, "fetch", f"{self.dir}/objects/open")
        self.assert_says(done, NO_ACCESS, "attach.sock", "[Pp]ermission|group")


if __name__ == "__main__":
    unittest.main()
