# SPDX-License-Identifier: Apache-2.0
"""The example programs, and a stranger's project that uses the installed library."""

import os
import subprocess
import unittest

from harness import NOT_THERE, OK, Scratch

OUTSIDE_PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES CXX)
find_package(holdfast REQUIRED)
add_executable(outside outside.cc)
target_link_libraries(outside PRIVATE holdfast::holdfast)
"""
OUTSIDE_SOURCE = """
#include <holdfast/client.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  auto options = holdfast::LoadClientOptions(argv[1]);
  if (!options.ok()) return 1;
  auto client = holdfast::Client::Connect(*options);
  if (!client.ok()) return 1;
  auto object = (*client)->Get(argv[2]);
  if (!object.ok()) return 1;
  std::printf("%.*s", static_cast<int>(object->size()), object->text().data());
  return object->source() == holdfast::ObjectSource::kFar ? 3 : 0;
}
"""


class Examples(Scratch):
    def setUp(self):
        super().setUp()
        self.nodes = self.cluster(2)
        self.paths = [self.write(f"tree/{i}", bytes([i]) * 1000 * i) for i in range(1, 40)]

    def test_read_list(self):
        listed = self.write("list", "\n".join(self.paths) + "\n")
        done = self.run_program(os.environ["E2E_READ_LIST"], self.nodes.client, listed, "5")
        self.assertEqual(done.code, OK, done)
        self.assertRegex(done.text, r"^39 objects, .*: \d+ local, \d+ from its disk, \d+ from other nodes, \d+ fetched for us, 0 far\n$")
        missing = self.run_program(os.environ["E2E_READ_LIST"], self.nodes.client, f"{self.dir}/none")
        self.assertEqual(missing.code, 1, missing)
        self.assertIn(f"{self.dir}/none", missing.said)

    def test_lookup(self):
        for client, again in ((self.nodes.remote_client, "another node|its home"), (self.nodes.client, "this host's node|its home|another node")):
            first = self.run_program(os.environ["E2E_LOOKUP"], client, self.paths[20])
            second = self.run_program(os.environ["E2E_LOOKUP"], client, self.paths[20])
            for done in (first, second):
                self.assertEqual((done.code, done.out), (OK, self.read(self.paths[20])), done.said)
            self.assertRegex(second.said, again)
        missing = self.run_program(os.environ["E2E_LOOKUP"], self.nodes.client, f"{self.dir}/none")
        self.assertEqual(missing.code, 1, missing)
        self.assertRegex(missing.said, f"not found.*{self.dir}/none")


class Installed(Scratch):
    def test_an_outside_project_finds_builds_and_runs(self):
        prefix = f"{self.dir}/prefix"
        self.command("cmake", "--install", os.environ["E2E_BUILD"], "--prefix", prefix)
        self.write("outside/CMakeLists.txt", OUTSIDE_PROJECT)
        self.write("outside/outside.cc", OUTSIDE_SOURCE)
        self.command("cmake", "-S", "outside", "-B", "outside/build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
        self.command("cmake", "--build", "outside/build")

        # The installed programs work with each other: the command line finds the daemon beside itself.
        path = self.write("object", b"the right bytes")
        holdfast = f"{prefix}/bin/holdfast"
        up = f"{self.dir}/cluster"
        self.addCleanup(self.run_program, holdfast, "cluster", "down", "--dir", up)
        self.assertEqual(self.run_program(holdfast, "cluster", "up", "--dir", up, "--nodes", "2", "--memory", "64MiB").code, OK)
        done = self.run_program(f"{self.dir}/outside/build/outside", f"{up}/client.toml", path)
        self.assertEqual((done.code, done.out), (OK, b"the right bytes"), done)

    def command(self, *words):
        done = subprocess.run(words, cwd=self.dir, capture_output=True, text=True, timeout=180,
                              env=self.environment | {"CCACHE_DISABLE": "1"})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
