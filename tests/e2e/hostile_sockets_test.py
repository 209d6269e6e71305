# SPDX-License-Identifier: Apache-2.0
"""Garbage, and peers of another release, on every socket of a daemon. It tells them why, and lives on."""

import os
import random
import re
import socket
import struct
import threading
import unittest

import zmtp
from harness import NOT_REACHED, OK, USAGE, Scratch, wait_for

BULK_MAGIC = 0x314B4C4244464C48
ATTACH_MAGIC = 0x3148545444464C48


def garbage(seed):
    """What strangers send: requests of other protocols, random bytes, zeros, half of something, nothing."""
    rng = random.Random(seed)
    return [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 5000,
            b"\xff" * 5000, rng.randbytes(1), rng.randbytes(63), rng.randbytes(64), rng.randbytes(100_000),
            zmtp.GREETING[:20], zmtp.GREETING + rng.randbytes(500), struct.pack("<Q", BULK_MAGIC) + rng.randbytes(56)]


def send_all(connect, messages):
    """Sends each on a connection of its own and reads until the other side closes, or has nothing to say."""
    for message in messages:
        with connect() as sock:
            try:
                sock.settimeout(5)
                sock.sendall(message)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except OSError:
                pass  # reset or ignored: both are right


class HostileSockets(Scratch):
    def setUp(self):
        super().setUp()
        self.nodes = self.cluster(1)
        self.node = self.nodes.nodes[0]
        self.path = self.write("object", b"the right bytes")
        self.addCleanup(self.assert_it_lives)

    def assert_it_lives(self):
        for config in (self.nodes.client, self.nodes.remote_client):
            self.assertEqual(self.ok("--config", config, "fetch", self.path).out, b"the right bytes")
        self.assertTrue(self.node.running(), self.node.said())
        self.assertEqual(self.ok("--config", self.nodes.client, "--json", "status").json()[0]["node"], 1)

    def tcp(self, port):
        return lambda: socket.create_connection(("127.0.0.1", port), 10)

    def unix(self, name, kind):
        def connect():
            sock = socket.socket(socket.AF_UNIX, kind)
            sock.connect(f"{self.node.state}/{name}")
            return sock
        return connect

    def test_garbage_on_control(self):
        send_all(self.tcp(self.node.control_port()), garbage(1))
        wait_for(lambda: "is no Holdfast program" in self.node.said(), "a word about the stranger", 20)

    def test_garbage_on_bulk(self):
        send_all(self.tcp(self.node.bulk_port()), garbage(2))
        send_all(self.unix("bulk.sock", socket.SOCK_STREAM), garbage(3))

    def test_garbage_on_attach(self):
        send_all(self.unix("attach.sock", socket.SOCK_SEQPACKET), [g for g in garbage(4) if g])
        send_all(self.unix("attach.sock", socket.SOCK_SEQPACKET), [struct.pack("<QII", ATTACH_MAGIC, 1, 1)] * 5)

    def test_many_silent_connections(self):
        """Nobody's place is taken by those who connect and say nothing."""
        silent = [self.tcp(port)() for port in (self.node.control_port(), self.node.bulk_port()) for _ in range(50)]
        silent += [self.unix("attach.sock", socket.SOCK_SEQPACKET)() for _ in range(8)]
        self.assert_it_lives()
        for sock in silent:
            sock.close()

    def test_messages_of_garbage_through_a_right_handshake(self):
        rng = random.Random(5)
        peer = zmtp.Peer.connect(self.node.control_port())
        for frames in ([b""], [rng.randbytes(1000)], [b"\xdd\xff\xff\xff\xff"], [zmtp.pack([1])], [zmtp.pack([1, 999, 0])],
                       [zmtp.pack([1, 0, "holdfast", 0])], [zmtp.pack([1, "hello"])], [b"\xdd" * 200],
                       [zmtp.pack([1, 14, 7]), rng.randbytes(100)], [rng.randbytes(20)] * 50):
            with self.subTest(frames[0][:20]):
                peer.send(*frames)
        # Each was answered by an error or ignored; a right question on the same connection gets its answer.
        peer.send(zmtp.pack([1, 14, 4711]))
        while b'"node":1' not in b"".join(answer := peer.message()):
            self.assertLess(len(b"".join(answer)), 10_000)
        peer.close()

    def test_a_client_of_another_protocol_version(self):
        peer = zmtp.Peer.connect(self.node.control_port())
        peer.send(zmtp.pack([2, 0, "holdfast", 1, 65535, 0]))
        answer = b"".join(peer.message()).decode(errors="replace")
        self.assertRegex(answer, "protocol version 2, this program speaks 1: run the same release")
        peer.close()

        with self.tcp(self.node.bulk_port())() as bulk:
            bulk.sendall(struct.pack("<QH", BULK_MAGIC, 2).ljust(64, b"\0"))
            self.assertRegex(self.read_all(bulk), "bulk protocol version 2, this side speaks 1; run the same release")
        with self.tcp(self.node.bulk_port())() as bulk:
            bulk.sendall(struct.pack("<QHxxxxxxQ", BULK_MAGIC, 1, 12345).ljust(64, b"\0"))
            self.assertRegex(self.read_all(bulk), "cluster")
        for version, layout in ((2, 1), (1, 99)):
            with self.unix("attach.sock", socket.SOCK_SEQPACKET)() as attach:
                attach.sendall(struct.pack("<QII", ATTACH_MAGIC, version, layout))
                self.assertRegex(attach.recv(1000).decode(errors="replace"), "attach version 1 .* use the client library")

    def read_all(self, sock):
        sock.settimeout(20)
        said = b""
        while part := sock.recv(4096):
            said += part
        return said.decode(errors="replace")

    def test_a_node_of_another_protocol_version(self):
        """Here the client is ours: it is told, and reads on without that node."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            def serve():
                while True:
                    try:
                        sock = server.accept()[0]
                    except OSError:
                        return  # the test is over
                    try:
                        peer = zmtp.Peer(sock, "ROUTER")
                        self.addCleanup(peer.close)
                        peer.message()
                        peer.send(zmtp.pack([2, 1, "of another release"]))
                    except (OSError, EOFError):
                        sock.close()  # the client had what it wanted
            threading.Thread(target=serve, daemon=True).start()
            address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            config = self.write("future.toml", f'[[node]]\nid = 1\ncontrol = "{address}"\n')
            done = self.ok("--config", config, "fetch", self.path)
            self.assertEqual(done.out, b"the right bytes")
            self.assertRegex(done.said, f"(node 1|{address}).*protocol version 2.*run the same release")
            done = self.ok("--config", config, "--json", "run", self.write("list", self.path))
            self.assertEqual(done.json()[0]["far_objects"], 1)
            self.assertRegex(done.said, f"(node 1|{address}).*protocol version 2.*run the same release")

    def test_a_stranger_where_a_node_should_be(self):
        """A port that accepts and says nothing, and one that speaks HTTP: nothing hangs."""
        for answer in (None, b"HTTP/1.0 400 Bad Request\r\n\r\n"):
            with self.subTest(answer), socket.create_server(("127.0.0.1", 0)) as server:
                def serve():
                    try:
                        while True:
                            sock = server.accept()[0]
                            self.addCleanup(sock.close)
                            if answer:
                                sock.sendall(answer)
                                sock.close()
                    except OSError:
                        pass  # the test is over
                threading.Thread(target=serve, daemon=True).start()
                address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
                config = self.write("stranger.toml", f'[[node]]\nid = 1\ncontrol = "{address}"\n')
                self.assertEqual(self.ok("--config", config, "fetch", self.path).out, b"the right bytes")
                status = self.holdfast("--config", config, "status")
                self.assertEqual(status.code, NOT_REACHED, status)
                self.assertIn(address, status.text)


if __name__ == "__main__":
    unittest.main()
