# SPDX-License-Identifier: Apache-2.0
"""Just enough of ZMTP 3.0 (the bytes of ZeroMQ on TCP) and of MessagePack to be a client, or a node, of another release.

Only the NULL mechanism, short frames and the types of values that envelopes have.
"""

import socket
import struct

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\x00" + bytes(31)


def ready(socket_type):
    body = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", len(socket_type)) + socket_type.encode()
    return b"\x04" + bytes([len(body)]) + body


def pack(value):
    """A list, text, boolean or number as MessagePack."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
    return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))


class Peer:
    """One connection, as DEALER or ROUTER, with the handshake done."""

    def __init__(self, sock, socket_type):
        self.sock = sock
        self.sock.settimeout(20)
        self.sock.sendall(GREETING)
        self.take(64)
        self.sock.sendall(ready(socket_type))
        self.frame()

    @classmethod
    def connect(cls, port):
        return cls(socket.create_connection(("127.0.0.1", port), 20), "DEALER")

    def take(self, count):
        taken = b""
        while len(taken) < count:
            part = self.sock.recv(count - len(taken))
            if not part:
                raise EOFError("the other side closed the connection")
            taken += part
        return taken

    def frame(self):
        """(flags, body) of the next frame."""
        flags = self.take(1)[0]
        length = struct.unpack(">Q", self.take(8))[0] if flags & 2 else self.take(1)[0]
        return flags, self.take(length)

    def message(self):
        """The frames of the next message; heartbeats are answered."""
        frames = []
        while True:
            flags, body = self.frame()
            if flags & 4:
                if body.startswith(b"\x04PING"):
                    self.sock.sendall(b"\x04\x05\x04PONG")
                continue
            frames.append(body)
            if not flags & 1:
                return frames

    def send(self, *frames):
        for i, body in enumerate(frames):
            more = 1 if i + 1 < len(frames) else 0
            self.sock.sendall(bytes([more | 2]) + struct.pack(">Q", len(body)) + body)

    def close(self):
        self.sock.close()
