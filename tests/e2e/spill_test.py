# SPDX-License-Identifier: Apache-2.0
"""What a full node lets go of goes on at a peer with room, is read from there, and leaves when the peer needs its room."""

import random
import time
import unittest

from harness import Scratch, wait_for

# Of a list: three segments, which the node has let go on before the next three come.
PIECE = 30
BYTES = 100_000


class Spill(Scratch):
    def setUp(self):
        super().setUp()
        self.rng = random.Random(11)

    def lists(self, tree, pieces):
        """Lists of new objects, each small enough for one node's promises."""
        lists = []
        for piece in range(pieces):
            names = [self.write(f"{tree}/{piece:02}-{i:02}", self.rng.randbytes(BYTES)) for i in range(PIECE)]
            lists.append(self.write(f"{tree}-{piece:02}.list", "\n".join(names) + "\n"))
        return lists

    def start(self, settings=()):
        self.nodes = self.cluster(2, settings=["memory.limit=32MiB", *settings])
        self.configs = {}
        for node in self.nodes.nodes:
            # Of a program that knows this node only: all that it wants goes through that one's memory.
            self.configs[node.number] = self.write(
                f"only-{node.number}.toml", f'[[node]]\nid = {node.number}\ncontrol = "{node.control}"\n')
            wait_for(lambda: all(peer["answers"] for peer in self.status(node.number)["peers"]), "peers")

    def status(self, number):
        return self.ok("--config", self.configs[number], "--json", "status").json()[0]

    def spill(self, number):
        return self.status(number)["spill"]

    def gets(self):
        return sum(self.status(number)["far"]["gets"] for number in self.configs)

    def rests(self, number):
        before = self.spill(number)
        time.sleep(0.15)
        after = self.spill(number)
        return after["active"] == 0 and after["offered_objects"] == before["offered_objects"]

    def run_lists(self, number, lists):
        """Each list is planned, loaded by the node and read once, and what the node lets go of has gone on."""
        for path in lists:
            done = self.ok("--config", self.configs[number], "--json", "run", path, "--epochs", "1", "--wait").json()
            self.assertEqual(done[-1]["differing"], 0, done)
            wait_for(lambda: self.rests(number), "the end of the pulls")
        return done

    def test_a_full_nodes_objects_are_served_from_a_peer(self):
        lists = self.lists("tree", 7)  # 21 MB, for 19 MB of memory
        self.start()
        self.run_lists(1, lists)
        first = self.gets()
        self.assertEqual(first, 7 * PIECE)
        status = self.status(1)
        self.assertLess(status["memory"]["live_objects"], 7 * PIECE)
        self.assertGreater(status["spill"]["taken_objects"], 40)
        self.assertGreater(self.spill(2)["guests"], 40)
        self.assertGreater(self.spill(2)["guest_segments"], 0)
        # Those that left first are read again, and nobody goes far.
        peer_objects = status["loads"]["peer_objects"]
        self.run_lists(1, lists[:2])
        self.assertEqual(self.gets(), first, (self.status(1), self.status(2)))
        self.assertGreater(self.status(1)["loads"]["peer_objects"], peer_objects + 20)
        self.assertGreater(self.spill(2)["guest_reads"], 20)
        self.assertEqual(self.status(1)["promises"]["broken"], 0)

    def test_a_peer_that_needs_its_room_gives_guests_up(self):
        lists, others = self.lists("tree", 9), self.lists("others", 6)
        self.start()
        self.run_lists(1, lists)
        guests = self.spill(2)
        self.assertGreater(guests["guest_segments"], 0)
        self.assertEqual(guests["given_up_guests"], 0)
        first = self.gets()
        self.run_lists(2, others)
        self.assertGreater(self.spill(2)["given_up_guests"], 0)
        self.assertEqual(self.status(2)["promises"]["broken"], 0)
        # What it has loaded itself is all there, and went nowhere.
        self.assertEqual(self.gets(), first + 6 * PIECE)
        self.run_lists(2, others)
        self.assertEqual(self.gets(), first + 6 * PIECE)
        self.assertEqual(self.spill(2)["given_objects"], 0)

    def test_a_peer_that_is_killed_costs_what_it_had(self):
        lists = self.lists("tree", 10)
        self.start()
        self.run_lists(1, lists[:9])
        self.assertGreater(self.spill(2)["guests"], 0)
        self.nodes.nodes[1].kill()
        del self.configs[2]
        self.run_lists(1, lists)
        self.assertEqual(self.status(1)["promises"]["broken"], 0)

    def test_without_the_option_everything_is_fetched_again(self):
        lists = self.lists("tree", 9)
        self.start(settings=["spill.peers=false"])
        self.run_lists(1, lists)
        first = self.gets()
        self.run_lists(1, lists)
        self.assertGreater(self.gets(), first)
        for number in (1, 2):
            spill = self.spill(number)
            self.assertFalse(spill["peers"])
            self.assertEqual((spill["offered_objects"], spill["guests"]), (0, 0))


if __name__ == "__main__":
    unittest.main()
