#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The fake by itself: that it refuses what Discord refuses, and that its faults do what their names say.
import time
import unittest

from fake_process import FakeProcess

from common.skipping import need


class FakeTest(unittest.TestCase):
    def setUp(self):
        self.fake = FakeProcess()
        self.addCleanup(self.fake.stop)
        self.state = self.fake.control("state")
        self.channel = self.state["channels"]["general"]

    def tearDown(self):
        self.assertEqual(self.fake.control("state")["flaws"], [])

    def post(self, body, **more):
        return self.fake.api("POST", "/channels/%s/messages" % self.channel, body, **more)

    def refused(self, answer, status, code):
        self.assertEqual((answer[0], answer[1]["code"]), (status, code), answer)

    def test_it_is_strict(self):
        self.fake.control("settings", {"limits": {}})
        self.assertEqual(self.post({"content": "x"})[0], 200)
        self.refused(self.post({"content": "x"}, token="another"), 401, 0)
        self.refused(self.post({"content": 5}), 400, 50035)
        self.refused(self.post({"contents": "x"}), 400, 50035)
        self.refused(self.post({"content": "x" * 2001}), 400, 50035)
        self.refused(self.post({"content": "x", "nonce": "n" * 26}), 400, 50035)
        self.refused(self.post({"content": "  "}), 400, 50006)
        self.refused(self.post({"embeds": [{"description": "x" * 4096}, {"description": "y" * 2000}]}), 400, 50035)
        self.refused(self.fake.api("POST", "/channels/1/messages", {"content": "x"}), 404, 10003)
        self.refused(self.fake.api("PATCH", "/channels/%s/messages/1" % self.channel, {"content": "x"}), 404, 10008)
        self.refused(self.fake.api("GET", "/nothing"), 404, 0)
        button = {"type": 2, "style": 1, "label": "b", "custom_id": "x"}
        self.refused(self.post({"components": [{"type": 1, "components": [button, button]}]}), 400, 50035)
        self.refused(self.post({"components": [{"type": 1, "components": [dict(button, custom_id="%d" % n)
                                                                         for n in range(6)]}]}), 400, 50035)

    def test_a_nonce_makes_one_message_of_two(self):
        first = self.post({"content": "x", "nonce": "1", "enforce_nonce": True})[1]
        self.assertEqual(self.post({"content": "y", "nonce": "1", "enforce_nonce": True})[1]["id"], first["id"])
        self.assertNotEqual(self.post({"content": "z", "nonce": "1"})[1]["id"], first["id"])

    def test_budgets(self):
        statuses = [self.post({"content": "x"})[0] for _ in range(6)]
        self.assertEqual(statuses, [200] * 5 + [429])
        self.assertEqual(self.fake.received["X-RateLimit-Remaining"], "0")
        self.assertGreater(float(self.fake.received["X-RateLimit-Reset-After"]), 0)
        other = self.state["channels"]["other"]
        self.assertEqual(self.fake.api("POST", "/channels/%s/messages" % other, {"content": "x"})[0], 200)

    def test_faults_before_and_after_the_effect(self):
        def faulty(**fault):
            self.fake.control("faults", [{"method": "POST", "path": "/messages$", **fault}])
            answer = self.post({"content": "x"})
            messages = self.fake.control("channel/general")["messages"]
            for message in messages:
                self.fake.control("delete", {"channel": "general", "message": message["id"]})
            return answer and answer[0], len(messages)
        self.fake.control("settings", {"limits": {}})
        self.assertEqual(faulty(kind="error", status=502), (502, 0))
        self.assertEqual(faulty(kind="error", status=502, when="after"), (502, 1))
        self.assertEqual(faulty(kind="drop"), (None, 0))
        self.assertEqual(faulty(kind="drop", when="after"), (None, 1))
        self.assertEqual(faulty(kind="429", retry_after=0.5, unwatched=True), (429, 0))
        self.assertEqual(faulty(kind="cloudflare"), (429, 0))
        self.assertEqual(faulty(kind="late", seconds=0.1), (200, 1))

    def test_who_does_not_wait_is_noticed(self):
        self.fake.control("settings", {"limits": {}})
        self.fake.control("faults", [{"method": "POST", "path": "/messages$", "kind": "429", "retry_after": 5}])
        self.assertEqual(self.post({"content": "x"})[0], 429)
        time.sleep(0.2)
        self.post({"content": "x"})
        self.assertIn("asked for 5.00 s", self.fake.control("state")["violations"][0])

    def test_commands_and_clicks_are_only_those_that_are_there(self):
        def says(what, order):
            return self.fake.send("POST", "/_fake/" + what, order)[0]
        self.assertEqual(says("command", {"person": "a", "channel": "general"}), 404)
        path = "/applications/%s/commands" % self.state["application"]
        self.assertEqual(self.fake.api("PUT", path, [{"name": "berth", "description": "x", "options": [
            {"type": 1, "name": "run", "description": "x"}]}])[0], 200)
        self.assertEqual(says("command", {"person": "a", "channel": "general", "options": [{"type": 1, "name": "run"}]}), 200)
        self.assertEqual(says("command", {"person": "a", "channel": "general", "options": [{"type": 1, "name": "no"}]}), 400)
        self.assertEqual(says("click", {"person": "a", "channel": "general", "message": "1", "button": "b"}), 404)


if __name__ == "__main__":
    need("aiohttp", "cryptography", "jsonschema")
    unittest.main(verbosity=2)
