# SPDX-License-Identifier: Apache-2.0
"""Daemons that cannot start, and clients that are configured for a cluster that is not there."""

import os
import re
import socket
import subprocess
import unittest

from harness import AS_ROOT, CACHED, CACHED_MISSING, CACHED_USAGE, NOT_REACHED, NOT_THERE, OK, USAGE, WRONG, Cluster, Scratch, free_ports


class DaemonConfiguration(Scratch):
    def check(self, *settings, config="id = 1\n", environment=None):
        words = [CACHED, "--config", self.write("node.toml", config), "--check-config"]
        for setting in settings:
            words += ["--set", setting]
        return self.run_program(*words, environment=environment)

    def test_a_right_one(self):
        self.assertEqual(self.check().text, "cached: the configuration of node 1 is right\n")
        for key in ("id", "control", "memory.limit", "memory.huge_pages", "far.s3_endpoint", "limits.offer_ttl"):
            self.assertIn(key, self.read(f"{os.environ['E2E_SOURCE']}/docs/operators.md").decode())

    def test_wrong_keys_and_values_are_named_with_what_is_allowed(self):
        for config, *pieces in (
                ("", "id", "missing"),
                ("id = 1\nmemroy.limit = 1", "node.toml:2", "memroy.limit", "no such key", r"memory\.limit"),
                ("id = 1\n[memory]\nlimit = \"lots\"", "node.toml:3", "memory.limit", "lots", "GiB|MiB"),
                ("id = 1\n[memory]\nlimit = \"1KiB\"", "memory.limit"),
                ("id = 1\n[memory]\nlimit = \"20TiB\"", "node.toml:3", "memory.limit", "20.00 TiB", "may have", "lower"),
                ("id = 1\n[memory]\nlimit = \"1000TiB\"", "node.toml:3", "memory.limit", "1000.00 TiB", "may have", "lower"),
                ("id = 1\n[memory]\nlimit = \"64MiB\"\nplanning = \"60MiB\"", "memory.planning", "half"),
                ("id = 1\n[memory]\nhuge_pages = \"sometimes\"", "node.toml:3", "memory.huge_pages", "auto, on, off"),
                ("id = 70000", "node.toml:1", "id", "0 to 65534"),
                ("id = \"one\"", "node.toml:1", "id", "integer"),
                ("id = 1\nbulk_threads = 0", "bulk_threads", "1 to 64"),
                ("id = 1\nlog_level = \"loud\"", "log_level", "debug, info, warn, error"),
                ("id = 1\n[limits]\noffer_ttl = \"soon\"", "limits.offer_ttl", "soon", "s"),
                ("id = 1\n[[node]]\nid = 1", r"node\[0\].control", "missing"),
                ("id = 1\n[[node]]\nid = 1\ncontrol = \"tcp://127.0.0.1:1\"\n[[node]]\nid = 1\ncontrol = \"tcp://127.0.0.1:2\"",
                 r"node\[1\].id", "twice"),
                ("id = 1\n[[node]]\nid = 1\ncontrol = \"tcp://127.0.0.1:1\"\nport = 5", r"node\[0\].port", "no such key"),
                ("id = 1\ncluster = \"../train\"", "node.toml:2", "cluster", "no '/'"),
                ("id = 1\ncluster = \"\"", "node.toml:2", "cluster", "1 to 64"),
                ("id = 1\nstate_directory = \"here\"", "node.toml:2", "state_directory", "absolute"),
                ("id = 1\n[memory]\nsegment = 1", "node.toml:3", "memory.segment", "multiple of 4 KiB"),
                ("id = 1\n[memory]\nlimit = \"64MiB\"\nsegment = \"4KiB\"", "node.toml:4", "memory.segment", "at least 64.0 KiB"),
                ("id = 1\n[memory]\nindex_objects = 1", "node.toml:3", "memory.index_objects", "at least 1,024"),
                ("id = 1\n[memory]\nplanning = 1", "node.toml:3", "memory.planning", "at least 256.0 KiB"),
                ("id = 1\n[memory]\nmax_object = 1", "node.toml:3", "memory.max_object", "at least 4.0 KiB"),
                ("id = 1\n[[[", "node.toml:2", "key"),
                ("id = 1\n[memory]\nsegment = \"1MiB\"\nmax_object = \"2MiB\"", "node.toml:4", "memory.max_object",
                 r"memory\.segment = 1\.0 MiB"),
                ("id = 1\n[memory]\nlimit = \"1MiB\"", "node.toml:3", "memory.limit", "too small"),
                ("id = 1\n[memory]\nindex_objects = 17179869184", "node.toml:3", "memory.index_objects", "below"),
                ("id = 1\n[journal]\nlimit = \"1MiB\"", "node.toml:3", "journal.limit", "at least 4.0 MiB"),
                ("id = 1\n[journal]\nlimit = \"600MiB\"", "node.toml:3", "journal.limit", "journal.directory"),
                ("id = 1\n[journal]\ndirectory = \"here\"", "node.toml:3", "journal.directory", "absolute"),
                ("id = 1\n[far]\nthreads = 0", "node.toml:3", "far.threads", "1 to 64"),
                ("id = 1\n[far]\nmax_connections = 2\nthreads = 3", "node.toml:4", "far.threads", "1 to 2"),
                ("id = 1\n[far]\ns3_endpoint = \"nonsense\"", "node.toml:3", "far.s3_endpoint", "nonsense", "http://host:port"),
                ("id = 1\n[far]\nca_bundle = \"/no/such.pem\"", "node.toml:3", "far.ca_bundle", "/no/such.pem", "PEM"),
                ("id = 1\n[limits]\noffer_ttl = \"0s\"", "node.toml:3", "limits.offer_ttl", "at least 1.0 ms"),
                ("id = 1\n[limits]\nmax_hold = \"0d\"", "node.toml:3", "limits.max_hold", "at least 1.00 s"),
                ("id = 1\n[loads]\nbytes_per_s = 0", "node.toml:3", "loads.bytes_per_s", "from 1 to"),
                ("id = 1\n[loads]\nbytes_per_s = \"0MB\"", "node.toml:3", "loads.bytes_per_s", "at least 1 B"),
                ("id = = 1", "node.toml:1:"),
                ("id = 1\nid = 2", "node.toml:2"),
        ):
            with self.subTest(config):
                self.assert_says(self.check(config=config), CACHED_USAGE, *pieces)

    def test_aws_variables_that_cannot_work(self):
        for variable, value in (("AWS_ENDPOINT_URL", "nonsense"), ("AWS_CA_BUNDLE", "/no/such.pem")):
            with self.subTest(variable):
                self.assert_says(self.check(environment={variable: value}), CACHED_USAGE, value)

    def test_addresses(self):
        for key in ("control", "bulk"):
            for address in ("127.0.0.1:7070", "udp://127.0.0.1:7070", "tcp://127.0.0.1", "tcp://127.0.0.1:99999",
                            "tcp://no such host:1"):
                with self.subTest(f"{key} {address}"):
                    done = self.run_program(CACHED, "--set", "id=1", "--set", f"state_directory={self.state}/n", "--set",
                                            "memory.limit=64MiB", "--set", "control=tcp://127.0.0.1:0", "--set",
                                            "bulk=tcp://127.0.0.1:0", "--set", f"{key}={address}")
                    self.assert_says(done, CACHED_USAGE, re.escape(address), "tcp://HOST:PORT|tcp://127.0.0.1")

    def test_flags_beat_the_environment_which_beats_the_file(self):
        file = "id = 1\n[memory]\nhuge_pages = \"in the file\"\n"
        self.assert_says(self.check(config=file), CACHED_USAGE, "in the file")
        environment = {"HOLDFAST_MEMORY_HUGE_PAGES": "in the environment"}
        self.assert_says(self.check(config=file, environment=environment), CACHED_USAGE, "in the environment")
        self.assert_says(self.check("memory.huge_pages=in a flag", config=file, environment=environment), CACHED_USAGE,
                         "in a flag")
        self.assertEqual(self.check("memory.huge_pages=off", config=file, environment=environment).code, OK)
        self.assert_says(self.check("no-equals-sign"), CACHED_USAGE, "no-equals-sign", "KEY=VALUE")
        self.assert_says(self.check("no.such=1"), CACHED_USAGE, "no.such", "no such key")
        self.assert_says(self.run_program(CACHED, "--config", "none.toml"), CACHED_USAGE, "none.toml", "No such file")
        self.assert_says(self.run_program(CACHED, "--config", self.dir), CACHED_USAGE, self.dir, "is a directory")

    def test_wrong_values_of_a_client(self):
        for config, *pieces in (("atach = 1", "client.toml:1", "atach", "no such key", "attach"),
                                ("attach = 1", "client.toml:1", "attach", "text"),
                                ("[[node]]\nid = 1", "control", "missing"),
                                ("[far]\nmax_connections = 0", "far.max_connections", "1 to 4096"),
                                ("cluster_key_file = \"none\"", "none", "[Nn]o such file|does not exist")):
            with self.subTest(config):
                done = self.holdfast("--config", self.write("client.toml", config), "list", self.dir)
                self.assertIn(done.code, (USAGE, NOT_THERE))
                self.assert_says(done, done.code, *pieces)
        self.assert_says(self.holdfast("--set", "cluster", "list", self.dir), USAGE, "cluster", "KEY=VALUE")


class DaemonStart(Scratch):
    def daemon(self, *settings, prefix=(), state=None):
        words = [CACHED]
        for setting in ("id=1", f"state_directory={state or self.state + '/node'}", "memory.limit=64MiB",
                        "control=tcp://127.0.0.1:0", "bulk=tcp://127.0.0.1:0", *settings):
            words += ["--set", setting]
        return self.run_program(*words, prefix=prefix)

    def assert_nothing_is_left(self):
        self.assertEqual(os.listdir(self.state), [], "what a start that failed had made")

    def test_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
            for key in ("control", "bulk"):
                with self.subTest(key):
                    self.assert_says(self.daemon(f"{key}={address}"), CACHED_MISSING, address, "in use", key)
        self.assert_nothing_is_left()

    def test_a_start_that_fails_leaves_what_a_killed_daemon_has_left(self):
        nodes = self.cluster(1)
        node = nodes.nodes[0]
        path = self.write("object", b"bytes" * 1000)
        self.ok("--config", nodes.client, "hold", self.write("list", f"{path}\n"), "--for", "1h", "--wait")
        node.kill()
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
            for attempt in range(2):
                with self.subTest(attempt):
                    done = self.run_program(CACHED, "--config", node.config, "--set", f"bulk={address}")
                    self.assert_says(done, CACHED_MISSING, address, "in use")
        begins = len(node.said())
        node.start()
        self.assertRegex(node.said(begins), "memory: 1 objects, .*, are still there from an earlier start")
        state = self.ok("--config", nodes.client, "--json", "status").json()[0]
        self.assertEqual(state["memory"]["held_objects"], 1)
        self.assertEqual(state["journal"]["restored_objects"], 1)

    def test_an_address_of_another_machine_and_one_beyond_loopback_without_a_key(self):
        for key in ("control", "bulk"):
            for address in ("tcp://0.0.0.0:0", "tcp://192.0.2.1:0"):
                with self.subTest(f"{key} {address}"):
                    self.assert_says(self.daemon(f"{key}={address}"), CACHED_MISSING, re.escape(address), "cluster key", key)
        self.assert_nothing_is_left()

    def test_a_second_daemon_on_the_same_state(self):
        nodes = self.cluster(1)
        first = nodes.nodes[0]
        done = self.daemon(state=first.state)
        self.assert_says(done, CACHED_MISSING, first.state, f"process {first.process.pid}", "stop it")
        self.assertEqual(self.ok("--config", nodes.client, "--json", "status").json()[0]["node"], 1)

    def test_more_memory_than_there_is(self):
        self.assert_says(self.daemon("memory.limit=10TiB"), CACHED_USAGE, "memory.limit", "10.00 TiB", "lower")
        self.assert_nothing_is_left()

    def test_more_memory_than_its_cgroup(self):
        group, limit_file = self.make_cgroup()
        subprocess.run([*AS_ROOT, "sh", "-c", f"echo {96 << 20} > {limit_file}"], check=True)
        enter = [*AS_ROOT, "sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        checked = self.run_program(CACHED, "--set", "id=1", "--set", "memory.limit=200MiB", "--check-config", prefix=enter)
        self.assert_says(checked, CACHED_USAGE, "memory.limit", re.escape(limit_file))
        self.assert_says(self.daemon("memory.limit=200MiB", prefix=enter), CACHED_USAGE, "memory.limit", "200.0 MiB", "96.0 MiB",
                         re.escape(limit_file), "lower")
        self.assert_nothing_is_left()

    def make_cgroup(self):
        """A memory cgroup of version 1 or 2, below this process's own; its folder and the file of its limit."""
        name = f"holdfast-e2e-{os.getpid()}"
        own = dict(line.split(":", 2)[1:] for line in self.read("/proc/self/cgroup").decode().splitlines())
        if os.path.isdir("/sys/fs/cgroup/memory"):
            group, file = f"/sys/fs/cgroup/memory{own['memory']}/{name}", "memory.limit_in_bytes"
        else:
            group, file = f"/sys/fs/cgroup{own['']}/{name}", "memory.max"
        subprocess.run([*AS_ROOT, "mkdir", group], check=True)
        self.addCleanup(subprocess.run, [*AS_ROOT, "rmdir", group])
        return group, f"{group}/{file}"

    def test_too_few_file_descriptors(self):
        """They aborted, in ZeroMQ's code or in ours, at one limit or another."""
        for limit in (12, 16, 20, 25, 30, 36, 40):
            with self.subTest(limit):
                few = ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh"]
                self.assert_says(self.daemon(prefix=few), CACHED_MISSING, rf"Too many open files.* {limit} \(ulimit -n\)")
                fetched = self.holdfast("--config", "", "fetch", "/etc/hostname", prefix=few)
                self.assert_says(fetched, WRONG, rf"Too many open files.* {limit} \(ulimit -n\)")
        few = ["sh", "-c", 'ulimit -n 100; exec "$@"', "sh"]
        self.assert_says(self.daemon("bulk_threads=64", prefix=few), CACHED_MISSING, "Too many open files", "ulimit -n")
        self.assert_nothing_is_left()
        # What a shell gives by default is no limit: the hard one counts.
        soft = ["sh", "-c", 'ulimit -S -n 12; exec "$@"', "sh"]
        self.ok("--config", "", "fetch", "/etc/hostname", prefix=soft)

    def test_a_full_tmpfs(self):
        small = os.path.join(self.dir, "small")
        os.makedirs(small)
        subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", "size=16m,mode=777", "holdfast-e2e", small], check=True)
        self.addCleanup(subprocess.run, [*AS_ROOT, "umount", "-l", small])
        done = self.daemon("memory.huge_pages=off", state=f"{small}/node")
        self.assert_says(done, CACHED_MISSING, f"{small}/node", "too full", "16", "lower")
        self.assertNotIn("region", str(list(os.walk(small))), "no half of a region stays behind")

    def test_a_directory_on_a_disk(self):
        done = self.daemon("memory.huge_pages=off", state=f"{self.dir}/node")
        self.assert_says(done, CACHED_USAGE, f"{self.dir}/node", "disk", "/dev/shm")

    def test_a_directory_that_cannot_be_made(self):
        self.assert_says(self.daemon(state="/proc/holdfast"), CACHED_MISSING, "/proc/holdfast")
        file = self.write("file", "")
        self.assert_says(self.daemon(state=f"{file}/node"), CACHED_MISSING, f"{file}/node")
        self.assert_says(self.daemon("group=no-such-group"), CACHED_USAGE, "no-such-group", "group")

    def test_no_huge_pages(self):
        """Switched off, and not to be had: whoever may not mount gets 4 KiB pages and is told."""
        path = self.write("object", b"bytes")
        nodes = Cluster(self, 2, settings=["memory.huge_pages=off"])
        for node in nodes.start().nodes:
            self.assertRegex(node.said(), "4 KiB pages .*switched off")
        self.assertEqual(self.ok("--config", nodes.client, "fetch", path).out, b"bytes")

        other = Cluster(self, 1, settings=["memory.huge_pages=on", f"state_directory={self.state}/unprivileged/node"])
        os.makedirs(f"{self.state}/unprivileged", mode=0o777)
        # Without the right to mount anything, whoever starts the test.
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
        done = subprocess.Popen([*drop, CACHED, "--config", other.nodes[0].config, "--set", "memory.huge_pages=on", "--set",
                                 f"state_directory={self.state}/unprivileged/node"], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, env=self.environment)
        self.addCleanup(done.stdout.close)
        self.addCleanup(done.wait)
        self.addCleanup(done.kill)
        said = ""
        while "ready\n" not in said and done.poll() is None:
            said += done.stdout.readline().decode()
        self.assertRegex(said, r"warning .*4 KiB pages.*no 2 MiB pages: cannot mount a tmpfs")


class NotThere(Scratch):
    """Clients whose cluster is not as their configuration says."""

    def test_nobody_listens(self):
        address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        config = ["--config", self.write("client.toml", f'[[node]]\nid = 1\ncontrol = "{address}"\n')]
        status = self.holdfast(*config, "status")
        self.assertEqual(status.code, NOT_REACHED, status)
        self.assertIn(f"node 1 does not answer at {address}", status.text)
        self.assertEqual(self.holdfast(*config, "--json", "status").json(), [{"node": 1, "answers": False}])
        # A read never fails because the cache did, but the user is told.
        path = self.write("objects/one", b"bytes")
        fetched = self.ok(*config, "fetch", path)
        self.assertEqual(fetched.out, b"bytes")
        self.assertIn(address, fetched.said)
        ran = self.ok(*config, "--json", "run", f"{self.dir}/objects")
        self.assertEqual((ran.json()[0]["far_objects"], ran.json()[0]["nodes"][0]["answered"]), (1, False))
        self.assertEqual(ran.said.count(f"no connection to {address}"), 1, ran.said)
        self.assert_says(self.holdfast(*config, "drop", path), NOT_REACHED, "no node answers")
        self.assert_says(self.holdfast(*config, "release", "0" * 16), NOT_REACHED, "1 of 1 nodes did not")
        self.assertEqual(self.holdfast(*config, "hold", path).code, USAGE)

    def test_the_node_of_this_machine_is_not_running(self):
        nodes = Cluster(self, 1)
        done = self.holdfast("--config", nodes.client, "fetch", "/etc/hostname")
        self.assert_says(done, NOT_REACHED, "attach.sock", "running|start")
        os.makedirs(nodes.nodes[0].state)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as old:
            old.bind(f"{nodes.nodes[0].state}/attach.sock")  # as kill -9 leaves it
        done = self.holdfast("--config", nodes.client, "fetch", "/etc/hostname")
        self.assert_says(done, NOT_REACHED, "attach.sock", "running|start")

    def test_unknown_nodes(self):
        nodes = self.cluster(2)
        path = self.write("objects/one", b"bytes")
        # Ids exchanged, a node that is none, a name that no resolver knows.
        a, b = (node.control for node in nodes.nodes)
        exchanged = self.write("x.toml", f'[[node]]\nid = 2\ncontrol = "{a}"\n[[node]]\nid = 7\ncontrol = "{b}"\n')
        done = self.ok("--config", exchanged, "fetch", path)
        self.assertEqual(done.out, b"bytes")
        self.assertRegex(done.said, f"{a} says that it is node 1")
        nowhere = self.write("y.toml", '[[node]]\nid = 1\ncontrol = "tcp://no-such-host.invalid:7070"\n')
        done = self.ok("--config", nowhere, "fetch", path)
        self.assertRegex(done.said, "no-such-host.invalid")
        wrong = self.write("z.toml", '[[node]]\nid = 1\ncontrol = "7070"\n')
        self.assertRegex(self.holdfast("--config", wrong, "status").said, "7070.*tcp://HOST:PORT")

    def test_another_cluster(self):
        nodes = self.cluster(1)
        done = self.ok("--config", nodes.remote_client, "--set", "cluster=elsewhere", "fetch", self.write("one", b"bytes"))
        self.assertRegex(done.said, 'node 1 belongs to cluster "holdfast", not to "elsewhere"')


if __name__ == "__main__":
    unittest.main()
