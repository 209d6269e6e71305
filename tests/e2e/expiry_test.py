# SPDX-License-Identifier: Apache-2.0
"""Objects that their far store ends at a time that it tells: nobody reads them from then on, wherever they lie."""

import os
import time
import unittest

from far_server import FarServer
from harness import NOT_THERE, Scratch, wait_for

SIZES = {"tiny": 1_000, "small": 100_000}  # in packs, and in records
MANY = 200  # of each, ending and staying: twice what memory takes
LASTS = 20  # seconds


class Expiry(Scratch):
    def setUp(self):
        super().setUp()
        self.far = FarServer(self)
        far = f'[far]\ns3_endpoint = "{self.far.url}"\n'
        settings = ["memory.limit=32MiB", "memory.segment=256KiB", "memory.max_object=128KiB",
                    f"disk.directory={self.dir}/disk", "disk.limit=128MiB", "disk.segment=1MiB",
                    "disk.tiny_objects=2000"]
        self.nodes = self.cluster(1, config=far, client=far, settings=settings)
        self.config = ["--config", self.nodes.client]

    def put(self, folder):
        return {f"b/{folder}/{kind}/{n}": os.urandom(size) for kind, size in SIZES.items() for n in range(MANY)}

    def fetch(self, name):
        return self.holdfast(*self.config, "-q", "fetch", f"s3://{name}")

    def gets(self):
        return self.far.count("GET", "b/")

    def test_what_has_expired_is_read_nowhere(self):
        ending, staying = self.put("ending"), self.put("staying")
        self.far.objects |= ending | staying
        ends = int(time.time()) + LASTS
        self.far.ends = {name: ends for name in ending}
        names = list(ending | staying)
        for first in range(0, len(names), 50):  # memory waits for no disk
            self.ok(*self.config, "-q", "fetch", *(f"s3://{name}" for name in names[first:first + 50]))
            time.sleep(0.1)
        here = self.gets()
        self.assertGreaterEqual(here, 4 * MANY)  # the larger ones come in two parts
        for name, right in list(ending.items())[::10]:
            self.assertEqual(self.fetch(name).out, right)
        self.assertLess(time.time(), ends, "the machine was too slow for this test")
        self.assertEqual(self.gets(), here, "they were there")
        disk = self.ok(*self.config, "--json", "status").json()[0]["disk"]
        self.assertGreater(disk["objects"] - disk["tiny_objects"], MANY, disk)
        self.assertGreater(disk["tiny_objects"], MANY, disk)
        wait_for(lambda: time.time() > ends, "their end")
        for name in list(ending)[::5]:
            self.assert_says(self.fetch(name), NOT_THERE, name, "expired")
        here = self.gets()
        for name, right in list(staying.items())[::10]:
            self.assertEqual(self.fetch(name).out, right)
        self.assertEqual(self.gets(), here, "what does not end stays")
        # Written again it lasts again.
        name = next(iter(ending))
        self.far.ends[name] = int(time.time()) + 1000
        self.assertEqual(self.fetch(name).out, ending[name])
        there = self.gets()
        self.assertEqual(self.fetch(name).out, ending[name])
        self.assertEqual(self.gets(), there)


if __name__ == "__main__":
    unittest.main()
