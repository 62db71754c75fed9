#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The fake Slack refuses what Slack refuses, and its answers and events are what Slack's description says.
import time
import unittest

from fake_process import FakeProcess

import world
from common.skipping import need

need("aiohttp", "jsonschema")
from description import Description  # noqa: E402


class Fake(unittest.TestCase):
    def setUp(self):
        self.fake = FakeProcess()
        self.fake.control("channel", {"id": "C0GENERAL1", "people": ["U0000001"]})

    def tearDown(self):
        self.fake.stop()

    def api(self, method, body=None, token=world.BOT_TOKEN, form=None):
        headers = {"Authorization": "Bearer " + token}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = form.encode()
        status, answer = self.fake.send("POST", "/api/" + method, body, headers)
        self.assertEqual(status, 200)
        return answer

    def refused(self, code, method, body=None, **more):
        self.assertEqual(self.api(method, body, **more).get("error"), code)

    def test_refuses_what_slack_refuses(self):
        good = {"channel": "C0GENERAL1", "text": "x"}
        self.assertTrue(self.api("chat.postMessage", good)["ok"])
        self.refused("invalid_auth", "chat.postMessage", good, token="xoxb-wrong")
        self.refused("not_allowed_token_type", "chat.postMessage", good, token=world.APP_TOKEN)
        self.refused("channel_not_found", "chat.postMessage", {**good, "channel": "C0NOWHERE1"})
        self.refused("unknown_field", "chat.postMessage", {**good, "txt": "x"})
        self.refused("invalid_arguments", "chat.postMessage", {**good, "unfurl_links": "yes"})
        self.refused("no_text", "chat.postMessage", {"channel": "C0GENERAL1"})
        self.refused("msg_too_long", "chat.postMessage", {**good, "text": "x" * 40001})
        self.refused("thread_not_found", "chat.postMessage", {**good, "thread_ts": "1.2"})
        self.refused("unknown_method", "chat.shout", good)
        self.refused("message_not_found", "chat.update", {**good, "ts": "1.2"})
        self.refused("json_not_supported", "conversations.history", {"channel": "C0GENERAL1"})
        self.refused("invalid_trigger_id", "views.open", {"trigger_id": "x", "view": {}})
        self.refused("user_not_in_channel", "chat.postEphemeral", {**good, "user": "U0000009"})
        self.fake.control("archive", {"channel": "C0GENERAL1"})
        self.refused("is_archived", "chat.postMessage", good)
        self.fake.control("revoke", {"which": "bot"})
        self.refused("invalid_auth", "auth.test", form="")

    def test_refuses_blocks_that_are_none(self):
        plain = {"type": "plain_text", "text": "x"}
        button = {"type": "button", "action_id": "a", "text": plain}
        for blocks in ([{"type": "headline"}], [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
                       [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}], [{"type": "section"}],
                       [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}],
                       [{"type": "section", "fields": [plain] * 11}], [{"type": "actions", "elements": [button, button]}],
                       [{"type": "actions", "elements": [{**button, "style": "green"}]}], [{"type": "context", "elements": []}],
                       [{"type": "section", "text": plain, "more": 1}], [{"type": "section", "text": {"type": "plain_text", "text": ""}}]):
            with self.subTest(blocks):
                self.refused("invalid_blocks", "chat.postMessage", {"channel": "C0GENERAL1", "text": "x", "blocks": blocks})
        self.refused("invalid_blocks_format", "chat.postMessage",
                     {"channel": "C0GENERAL1", "text": "x", "blocks": [{"type": "divider"}] * 51})

    def test_faults_come_when_ordered(self):
        good = {"channel": "C0GENERAL1", "text": "x"}
        headers = {"Authorization": "Bearer " + world.BOT_TOKEN}
        self.fake.control("faults", {"faults": [{"method": "chat.postMessage", "kind": "429", "retry_after": 3},
                                                {"method": "chat.postMessage", "kind": "500_after"},
                                                {"method": "*", "kind": "drop_before"}]})
        self.assertEqual(self.fake.send("POST", "/api/chat.postMessage", good, headers)[0], 429)
        self.assertEqual(self.fake.send("POST", "/api/chat.postMessage", good, headers)[0], 500)
        self.assertIsNone(self.fake.send("POST", "/api/chat.postMessage", good, headers))
        self.assertEqual(len(self.fake.control("channel/C0GENERAL1")["messages"]), 1)

    def test_who_does_not_wait_is_noticed(self):
        self.fake.control("faults", {"faults": [{"method": "chat.postMessage", "kind": "429", "retry_after": 5}]})
        headers = {"Authorization": "Bearer " + world.BOT_TOKEN}
        good = {"channel": "C0GENERAL1", "text": "x"}
        self.assertEqual(self.fake.send("POST", "/api/chat.postMessage", good, headers)[0], 429)
        time.sleep(0.2)
        self.api("chat.postMessage", {"channel": "C0ANOTHER1", "text": "x"})
        self.assertEqual([], self.fake.control("state")["violations"])
        self.api("chat.postMessage", good)
        self.assertIn("asked for 5.00 s", self.fake.control("state")["violations"][0])

    def test_answers_and_events_are_as_described(self):
        for channel in ("C0GENERAL1", "D000000001"):
            self.fake.control("say", {"channel": channel, "user": "U0000001", "text": "x"})
        posted = self.api("chat.postMessage", {"channel": "C0GENERAL1", "text": "x", "metadata": {
            "event_type": "berth", "event_payload": {}}, "blocks": [{"type": "divider"}]})
        self.api("chat.postMessage", {"channel": "C0GENERAL1", "text": "y", "thread_ts": posted["ts"]})
        self.api("chat.update", {"channel": "C0GENERAL1", "ts": posted["ts"], "text": "z"})
        self.api("chat.postEphemeral", {"channel": "C0GENERAL1", "user": "U0000001", "text": "x"})
        for method, form in (("auth.test", ""), ("conversations.history", "channel=C0GENERAL1&include_all_metadata=1"),
                             ("conversations.replies", "channel=C0GENERAL1&ts=" + posted["ts"])):
            self.assertTrue(self.api(method, form=form)["ok"], method)
        self.refused("channel_not_found", "chat.postMessage", {"channel": "C0NOWHERE1", "text": "x"})
        state = self.fake.control("state")
        self.assertEqual(([], []), (state["flaws"], state["violations"]))

    def test_what_the_description_forbids_is_noticed(self):
        # By the description itself, and by the fake where a client forgets what is required.
        self.api("chat.postEphemeral", {"channel": "C0GENERAL1", "text": "x"})
        self.assertEqual(["chat.postEphemeral: user is missing"], self.fake.control("state")["violations"])
        message = {"type": "message", "text": "x", "ts": "1700000000.000001"}
        posted = {"ok": True, "channel": "C0GENERAL1", "ts": "1700000000.000001", "message": message}
        judge = Description()
        self.assertEqual([], judge.check_answer("chat.postMessage", posted))
        for bad in ({**posted, "ts": 17}, {**posted, "more": 1}, {**posted, "message": {"text": "x"}},
                    {**posted, "message": {**message, "edits": 2}}, {"ok": False, "error": "you_bore_me"}):
            self.assertTrue(judge.check_answer("chat.postMessage", bad), bad)
        self.assertTrue(judge.check_request("conversations.history", {"channel": "C0GENERAL1", "colour": "red"}))
        self.assertTrue(judge.check_request("chat.shout", {}))
        event = self.fake.control("say", {"channel": "C0GENERAL1", "user": "U0000001", "text": "x"})["payload"]
        self.assertEqual([], judge.check_event(event))
        for bad in ({**event, "event": {"type": "app_mention"}}, {**event, "event": {**event["event"], "type": "app_shout"}},
                    {**event, "event_time": "now"}, {name: one for name, one in event.items() if name != "event_id"}):
            self.assertTrue(judge.check_event(bad), bad)


if __name__ == "__main__":
    unittest.main()
