# SPDX-License-Identifier: Apache-2.0
"""Real processes for the tests: daemons, the command line and scratch directories that are gone afterwards, whatever
happened.

ctest names the programs: E2E_CACHED, E2E_HOLDFAST, E2E_READ_LIST, E2E_LOOKUP. Everything that is started has a deadline,
so that what hangs fails. Programs see a small environment: nothing of the machine's AWS settings.
"""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

HOLDFAST = os.environ["E2E_HOLDFAST"]
CACHED = os.environ["E2E_CACHED"]
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
# Of one program. The machine may be busy with other tests; nothing here measures time.
DEADLINE_S = 60

# Exit codes of the command line, as `holdfast --help` documents them, and those of the daemon.
OK, WRONG, USAGE, NOT_THERE, NO_ACCESS, NOT_REACHED = range(6)
CACHED_USAGE, CACHED_MISSING = 2, 3


class Finished:
    """What a program did: its exit code, and what it said."""

    def __init__(self, words, code, out, err):
        self.words, self.code, self.out, self.err = words, code, out, err
        self.text = out.decode(errors="replace")
        self.said = err.decode(errors="replace")

    def json(self):
        """Every line of standard output as a JSON object."""
        return [json.loads(line) for line in self.text.splitlines()]

    def __str__(self):
        return f"{' '.join(map(str, self.words))}\nexit code {self.code}\n{self.text[-2000:]}\n{self.said[-2000:]}"


def free_ports(count):
    """Ports that nobody listens on now, all different; below those that the kernel gives to outgoing connections, which
    would take one now and then before the daemon does."""
    ports = []
    while len(ports) < count:
        port = random.randrange(10_240, 30_240)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def wait_for(condition, what, seconds=DEADLINE_S):
    """Polls until `condition()` is true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


class Daemon:
    """A process that says "ready", and its log."""

    def __init__(self, test, log):
        self.test, self.log = test, log
        self.process = None

    def run(self, words, wait=True):
        with open(self.log, "ab") as log:
            begins = log.tell()
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.test.environment)
        if wait:
            wait_for(lambda: "ready\n" in self.said(begins) or self.process.poll() is not None, f"{self.log} ready")
            self.test.assertIsNone(self.process.poll(), self.said())
        return self

    def said(self, begins=0):
        with open(self.log, "rb") as log:
            log.seek(begins)
            return log.read().decode(errors="replace")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def kill(self):
        return self.signal(signal.SIGKILL)


class Node(Daemon):
    """One node."""

    def __init__(self, test, number, control, members, settings, config=""):
        super().__init__(test, os.path.join(test.dir, f"node-{number}.log"))
        self.number, self.control = number, control
        self.state = os.path.join(test.state, f"node-{number}")
        self.config = test.write(
            f"node-{number}.toml",
            f'id = {number}\ncontrol = "{control}"\nbulk = "tcp://127.0.0.1:0"\nstate_directory = "{self.state}"\n'
            f'{config}\n[memory]\nlimit = "64MiB"\nsegment = "1MiB"\nmax_object = "512KiB"\n{members}')
        self.settings = settings

    def start(self, wait=True):
        words = [CACHED, "--config", self.config]
        for setting in self.settings:
            words += ["--set", setting.replace("{node}", str(self.number))]
        return self.run(words, wait)

    def terminate(self):
        return self.signal(signal.SIGTERM)

    def bulk_port(self):
        return int(re.findall(r"bulk: tcp://127\.0\.0\.1:(\d+)", self.said())[-1])

    def control_port(self):
        return int(self.control.rsplit(":", 1)[1])

    def clean_up(self):
        if self.running():
            self.kill()
        memory = os.path.join(self.state, "memory")
        if os.path.ismount(memory):
            subprocess.run([*AS_ROOT, "umount", "-l", memory], check=False)


class Cluster:
    """Some nodes that know each other, and the configuration of their clients."""

    def __init__(self, test, count, settings=(), config="", client=""):
        controls = [f"tcp://127.0.0.1:{port}" for port in free_ports(count)]
        members = "".join(f'[[node]]\nid = {i}\ncontrol = "{at}"\n' for i, at in enumerate(controls, 1))
        self.nodes = [Node(test, i, at, members, settings, config) for i, at in enumerate(controls, 1)]
        for node in self.nodes:
            test.addCleanup(node.clean_up)
        self.client = test.write("client.toml", f'attach = "{self.nodes[0].state}/attach.sock"\n{client}\n{members}')
        # Of a program on a machine that has no node.
        self.remote_client = test.write("remote-client.toml", f"{client}\n{members}")

    def start(self):
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            wait_for(lambda: "ready\n" in node.said() or not node.running(), f"node {node.number} ready")
            if not node.running():
                raise AssertionError(node.said())
        return self


class Scratch(unittest.TestCase):
    """A test with a directory for files, a directory in memory for state, and a quiet environment."""

    maxDiff = 2000

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="holdfast-e2e-")
        self.state = tempfile.mkdtemp(prefix="holdfast-e2e-", dir="/dev/shm")
        for directory in (self.dir, self.state):
            self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        self.environment = {"PATH": os.environ["PATH"], "HOME": self.dir, "XDG_RUNTIME_DIR": self.dir, "LC_ALL": "C.UTF-8"}

    def write(self, name, content):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def read(self, path):
        with open(path, "rb") as file:
            return file.read()

    def cluster(self, count=1, **options):
        return Cluster(self, count, **options).start()

    def run_program(self, *words, input=b"", prefix=(), environment=None):
        words = [*prefix, *words]
        done = subprocess.run(words, input=input, capture_output=True, timeout=DEADLINE_S,
                              env=self.environment | (environment or {}), cwd=self.dir)
        return Finished(words, done.returncode, done.stdout, done.stderr)

    def holdfast(self, *words, **options):
        return self.run_program(HOLDFAST, *words, **options)

    def ok(self, *words, **options):
        done = self.holdfast(*words, **options)
        self.assertEqual(done.code, OK, done)
        return done

    def assert_says(self, done, code, *pieces):
        """`done` ended with `code` and gave a message of one line that has every piece (regular expressions)."""
        self.assertEqual(done.code, code, done)
        lines = done.said.strip().splitlines()
        message = lines[-1] if lines else ""
        for piece in pieces:
            self.assertRegex(message, piece, done)
        self.assertRegex(message, r"^(holdfast|cached): ", done)
