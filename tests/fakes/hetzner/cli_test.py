#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The provider's own command line tool against the fake: what it cannot use is not Hetzner Cloud.
"""Debian's hcloud-cli, driven by HCLOUD_ENDPOINT. Without the package the test is skipped, and the exit status says so."""
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from fake_process import KEY, TOKEN, FakeProcess

from common.skipping import skip


class CliTest(unittest.TestCase):
    def setUp(self):
        self.fake = FakeProcess()
        self.addCleanup(self.fake.stop)
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.environment = {"HOME": home.name, "PATH": os.environ["PATH"], "HCLOUD_TOKEN": TOKEN,
                            "HCLOUD_ENDPOINT": self.fake.url}

    def hcloud(self, *words, fails=False):
        done = subprocess.run(["hcloud", *words], env=self.environment, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode != 0, fails, "%s: %s %s" % (words, done.stdout, done.stderr))
        return done.stderr if fails else done.stdout

    def describe(self, kind, name):
        return json.loads(self.hcloud(kind, "describe", name, "-o", "json"))

    def make_server(self, name, *more):
        return self.hcloud("server", "create", "--name", name, "--type", "cx22", "--image", "debian-12",
                           "--location", "fsn1", "--ssh-key", "laptop", *more)

    def delete_server(self, name):
        """This version of the tool returns while the deletion is under way."""
        self.hcloud("server", "delete", name)
        deadline = time.monotonic() + 10
        while any(server["name"] == name for server in self.fake.control("state")["servers"]):
            self.assertLess(time.monotonic(), deadline)

    def setUpKey(self):
        self.hcloud("ssh-key", "create", "--name", "laptop", "--public-key", KEY, "--label", "owner=me")

    def test_a_servers_whole_life(self):
        self.setUpKey()
        self.assertEqual(self.describe("ssh-key", "laptop")["labels"], {"owner": "me"})
        self.assertIn("created", self.make_server("one", "--label", "a=b"))
        self.make_server("two")
        one = self.describe("server", "one")
        self.assertEqual((one["status"], one["labels"]), ("running", {"a": "b"}))
        self.assertEqual(one["public_net"]["ipv4"]["ip"], self.hcloud("server", "ip", "one").strip())
        listed = self.hcloud("server", "list", "-o", "noheader", "-o", "columns=name,status", "--selector", "a=b")
        self.assertEqual(listed.split(), ["one", "running"])
        self.hcloud("server", "add-label", "one", "c=d")
        self.assertEqual(self.describe("server", "one")["labels"], {"a": "b", "c": "d"})
        self.hcloud("server", "remove-label", "one", "a")
        self.assertEqual(self.describe("server", "one")["labels"], {"c": "d"})
        for name in ("one", "two"):
            self.delete_server(name)
        self.hcloud("ssh-key", "delete", "laptop")
        state = self.fake.control("state")
        for kind in ("servers", "ssh_keys", "primary_ips"):
            self.assertEqual(state[kind], [], kind)
        self.assertEqual((state["violations"], state["flaws"]), ([], []))

    def test_it_reads_pages_and_refusals(self):
        self.setUpKey()
        names = ["s%d" % number for number in range(5)]
        for name in names:
            self.make_server(name)
        self.fake.control("settings", {"page_cap": 2})
        listed = self.hcloud("server", "list", "-o", "noheader", "-o", "columns=name")
        self.assertEqual(listed.split(), names)
        self.assertIn("uniqueness_error", self.hcloud(
            "server", "create", "--name", "s1", "--type", "cx22", "--image", "debian-12", fails=True))
        self.fake.control("faults", [{"method": "POST", "path": "/servers", "kind": "error", "status": 412,
                                              "code": "resource_unavailable", "message": "no room"}])
        self.assertIn("resource_unavailable", self.hcloud(
            "server", "create", "--name", "s9", "--type", "cx22", "--image", "debian-12", fails=True))
        self.assertIn("not found", self.hcloud("server", "delete", "nobody", fails=True))
        self.environment["HCLOUD_TOKEN"] = "another"
        self.assertIn("unauthorized", self.hcloud("server", "list", fails=True))

    def test_firewalls_and_catalogue(self):
        self.hcloud("firewall", "create", "--name", "closed", "--label", "a=b")
        self.assertEqual(self.describe("firewall", "closed")["rules"], [])
        self.setUpKey()
        self.make_server("one", "--firewall", "closed")
        self.assertIn("resource_in_use", self.hcloud("firewall", "delete", "closed", fails=True))
        self.delete_server("one")
        self.hcloud("firewall", "delete", "closed")
        for kind, name in (("server-type", "cx22"), ("location", "fsn1"), ("datacenter", "fsn1-dc1"), ("image", "debian-12")):
            self.assertIn(name, self.hcloud(kind, "list"))
            self.assertEqual(self.describe(kind, name)["name"], name)
        self.assertEqual(self.fake.control("state")["violations"], [])


if __name__ == "__main__":
    if shutil.which("hcloud") is None:
        skip("hcloud (package hcloud-cli) is not installed; the fake was not held to it")
    unittest.main(verbosity=2)
