# SPDX-License-Identifier: Apache-2.0
"""Clusters with a key: who has it is a member, nobody else gets an answer."""

import os
import re
import socket
import unittest

from harness import CACHED, CACHED_MISSING, CACHED_USAGE, NO_ACCESS, NOT_REACHED, OK, USAGE, Cluster, Scratch, wait_for


class ClusterKey(Scratch):
    def setUp(self):
        super().setUp()
        self.key = self.write("key", os.urandom(32).hex() + "\n")
        self.other_key = self.write("other-key", os.urandom(32).hex() + "\n")
        self.path = self.write("tree/object", b"the right bytes")
        for i in range(20):
            self.write(f"tree/{i}", bytes([i]) * 5000)

    def secured(self, **options):
        return self.cluster(2, config=f'cluster_key_file = "{self.key}"', client=f'cluster_key_file = "{self.key}"', **options)

    def test_with_the_key(self):
        nodes = self.secured()
        for config in (nodes.client, nodes.remote_client):
            with self.subTest(config):
                ran = self.ok("--config", config, "--json", "run", f"{self.dir}/tree", "--epochs", "2").json()
                self.assertEqual((ran[2]["far_requests"], ran[3]["wrong"]), (0, 0))
        def everybody_answers():  # they greet each other once a second
            status = self.ok("--config", nodes.client, "--json", "status").json()
            return all(peer["answers"] for node in status for peer in node["peers"])
        wait_for(everybody_answers, "the nodes to answer each other")

    def test_without_the_key_and_with_another(self):
        nodes = self.secured()
        for setting in ("cluster_key_file=", f"cluster_key_file={self.other_key}"):
            with self.subTest(setting):
                config = ["--config", nodes.remote_client, "--set", setting]
                status = self.holdfast(*config, "status")
                self.assertEqual(status.code, NOT_REACHED, status)
                self.assertRegex(status.said, f"{nodes.nodes[0].control} refuses the connection: .*same cluster key")
                self.assertNotIn("free", status.text)
                # Reading goes on far away, and says why.
                done = self.ok(*config, "--json", "run", f"{self.dir}/tree", "--epochs", "1")
                self.assertEqual(done.json()[0]["far_objects"], 21)
                self.assertRegex(done.said, "refuses the connection: .*same cluster key")
        for node in nodes.nodes:
            wait_for(lambda: re.search("was refused: it has another cluster key or none", node.said()), "a word in the log", 20)
            self.assertTrue(node.running())

    def test_bulk_needs_the_token(self):
        nodes = self.secured()
        with socket.create_connection(("127.0.0.1", nodes.nodes[0].bulk_port()), 10) as bulk:
            bulk.settimeout(20)
            bulk.sendall((0x314B4C4244464C48).to_bytes(8, "little") + (1).to_bytes(2, "little") + bytes(54))
            said = b""
            while part := bulk.recv(4096):
                said += part
        self.assertIn(b"cluster", said)

    def test_a_client_with_a_key_and_nodes_without(self):
        nodes = self.cluster(1)
        config = ["--config", nodes.remote_client, "--set", f"cluster_key_file={self.key}"]
        status = self.holdfast(*config, "status")
        self.assertEqual(status.code, NOT_REACHED, status)
        self.assertRegex(status.said, f"{nodes.nodes[0].control} refuses the connection: .*same cluster key")

    def test_nodes_with_different_keys(self):
        nodes = Cluster(self, 2, config=f'cluster_key_file = "{self.key}"', client=f'cluster_key_file = "{self.key}"')
        nodes.nodes[1].settings = [f"cluster_key_file={self.other_key}"]
        nodes.start()
        for node in nodes.nodes:
            wait_for(lambda: "refuses the connection" in node.said(), "the refusal in the log", 20)
        ran = self.ok("--config", nodes.client, "--json", "run", f"{self.dir}/tree", "--epochs", "2").json()
        self.assertEqual([node["answered"] for node in ran[0]["nodes"]], [True, False])
        self.assertEqual((ran[2]["far_requests"], ran[3]["wrong"]), (0, 0))

    def test_a_key_opens_other_addresses(self):
        nodes = self.secured(settings=["bulk=tcp://0.0.0.0:0", "advertise_bulk=tcp://127.0.0.1:9"])
        for node in nodes.nodes:
            self.assertIn("bulk: tcp://0.0.0.0:", node.said())
            self.assertIn("with a cluster key", node.said())

    def test_key_files_that_are_none(self):
        short = self.write("short", "abc")
        for path, code, pieces in ((short, CACHED_USAGE, [short, "64 hexadecimal digits"]),
                                   (f"{self.dir}/none", CACHED_MISSING, [f"{self.dir}/none", "No such file"]),
                                   (self.dir, CACHED_USAGE, [self.dir])):
            with self.subTest(path):
                done = self.run_program(CACHED, "--set", "id=1", "--set", f"state_directory={self.state}/n", "--set",
                                        f"cluster_key_file={path}", "--set", "control=tcp://127.0.0.1:0")
                self.assert_says(done, code, *pieces)
                self.assertNotIn("abc", done.said)
        self.assert_says(self.holdfast("--set", f"cluster_key_file={short}", "list", self.dir), USAGE, short,
                         "64 hexadecimal digits")


if __name__ == "__main__":
    unittest.main()
