#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The fake WhatsApp: Meta's own examples pass it, what the description forbids does not, every fault can be ordered.
import hashlib
import hmac
import http.server
import json
import threading
import time
import unittest

from fake_process import PHONE, SECRET, TOKEN, FakeProcess

from common.openapi import read_spec
from common.skipping import need

ADA = "16505551234"


class Hook(http.server.BaseHTTPRequestHandler):
    """A webhook that Meta's documentation would accept."""
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(dict(p.split("=") for p in self.path.split("?")[1].split("&"))["hub.challenge"].encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        right = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        good = self.headers.get("X-Hub-Signature-256") == right
        self.server.failures -= 1 if good else 0
        taken = good and self.server.failures < 0
        if taken:
            self.server.heard.append(json.loads(body))
        self.send_response(200 if taken else 500 if good else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


class FakeTest(unittest.TestCase):
    def setUp(self):
        self.fake = FakeProcess()
        self.addCleanup(self.fake.stop)

    def text(self, **more):
        return {"messaging_product": "whatsapp", "recipient_type": "individual", "to": ADA, "type": "text",
                "text": {"body": "hello"}, **more}

    def buttons(self, *titles, kind="button"):
        rows = [{"id": "id-" + title, "title": title} for title in titles]
        action = {"buttons": [{"type": "reply", "reply": row} for row in rows]} if kind == "button" else {
            "button": "Choose", "sections": [{"rows": rows}]}
        body = self.text(type="interactive", interactive={"type": kind, "body": {"text": "sure?"}, "action": action})
        del body["text"]
        return body

    def ok(self, body):
        status, answer = self.fake.api("/messages", body)
        self.assertEqual(status, 200, answer)
        return answer["messages"][0]["id"]

    def refused(self, body, status, code, **more):
        got, answer = self.fake.api("/messages", body, **more)
        self.assertEqual((got, answer["error"]["code"]), (status, code), answer)

    def end(self, violations=0):
        state = self.fake.control("state")
        self.assertEqual(state["flaws"], [])
        self.assertEqual(len(state["violations"]), violations, state["violations"])

    def test_metas_own_examples_are_taken(self):
        operation = read_spec("whatsapp-cloud-reduced.json")["paths"]["/{Version}/{Phone-Number-ID}/messages"]["post"]
        examples = operation["requestBody"]["content"]["application/json"]["examples"]
        self.fake.control("say", {"person": ADA, "text": "hi"})
        taken = 0
        for name, example in examples.items():
            body = dict(example["value"], to=ADA)
            if body.get("type") == "text" or (body.get("type") == "interactive" and body["interactive"]["type"] in ("button", "list")):
                status, answer = self.fake.api("/messages", body)
                # Their placeholders are longer than what they stand for may be.
                placeholder = status == 400 and "<" in json.dumps(body)
                self.assertTrue(status == 200 or placeholder, (name, answer))
                taken += status == 200
        self.assertGreater(taken, 2)

    def test_texts_and_the_window(self):
        self.refused(self.text(), 400, 131026)
        said = self.fake.control("say", {"person": ADA, "text": "hi"})["id"]
        self.ok(self.text(context={"message_id": said}))
        self.refused(self.text(text={"body": "x" * 4097}), 400, 100)
        self.refused(self.text(text={"body": "x", "nonsense": 1}), 400, 100)
        self.refused(self.text(nonsense=1), 400, 100)
        self.refused(self.text(to=7), 400, 100)
        self.refused({"messaging_product": "whatsapp", "to": ADA}, 400, 100)
        self.refused(self.text(), 401, 190, token="another")
        self.fake.control("silence", {"person": ADA, "hours": 25})
        self.refused(self.text(), 400, 131047)
        self.fake.control("template", {"name": "berth_news", "language": "en"})
        template = self.text(type="template", template={
            "name": "berth_news", "language": {"policy": "deterministic", "code": "en"},
            "components": [{"type": "body", "parameters": [{"type": "text", "text": "all is well"}]}]})
        del template["text"]
        self.ok(template)
        template["template"]["name"] = "unknown"
        self.refused(template, 404, 132001)
        shown = self.fake.control("chat/" + ADA)["messages"]
        self.assertEqual([(m["text"], m.get("answers"), m.get("template")) for m in shown[1:]],
                         [("hello", said, None), ("all is well", None, "berth_news")])
        self.end(violations=4)

    def test_buttons(self):
        self.fake.control("say", {"person": ADA, "text": "hi"})
        sent = self.ok(self.buttons("Yes", "No"))
        self.assertEqual(self.fake.control("click", {"person": ADA, "id": sent, "button": "Yes"})["token"], "id-Yes")
        listed = self.ok(self.buttons("a", "b", "c", "d", kind="list"))
        self.assertEqual(self.fake.control("click", {"person": ADA, "id": listed, "button": "d"})["token"], "id-d")
        self.refused(self.buttons("a", "b", "c", "d"), 400, 100)
        self.refused(self.buttons("x" * 21), 400, 100)
        self.refused(self.buttons("same", "same"), 400, 131009)
        self.end(violations=2)

    def test_templates_with_buttons(self):
        self.fake.control("say", {"person": ADA, "text": "hi"})
        self.fake.control("template", {"name": "berth_approval", "language": "en", "buttons": ["Approve", "Deny"]})
        presses = [{"type": "button", "sub_type": "quick_reply", "index": str(n), "parameters": [{"type": "payload", "payload": "id-%d" % n}]}
                   for n in range(2)]
        body = {"type": "body", "parameters": [{"type": "text", "text": "May this run?"}]}
        template = self.text(type="template", template={
            "name": "berth_approval", "language": {"policy": "deterministic", "code": "en"}, "components": [body, *presses]})
        del template["text"]
        sent = self.ok(template)
        self.assertEqual(self.fake.control("click", {"person": ADA, "id": sent, "button": "Deny"})["token"], "id-1")
        template["template"]["components"] = [body]
        self.refused(template, 400, 132018)
        presses[0]["index"] = "x"
        template["template"]["components"] = [body, *presses]
        self.refused(template, 400, 100)
        self.end(violations=1)

    def test_what_did_not_arrive_is_told_later(self):
        self.fake.control("say", {"person": ADA, "text": "hi"})
        self.fake.control("faults", [{"route": "messages", "kind": "undelivered", "code": 131026}])
        self.ok(self.text())
        self.assertEqual(len(self.fake.control("chat/" + ADA)["messages"]), 1)
        self.assertEqual(self.fake.control("state")["pending"], 2)
        self.fake.control("status", {"person": ADA, "id": "wamid.X", "status": "failed", "code": 131047})
        self.end()

    def test_files(self):
        self.fake.control("say", {"person": ADA, "text": "hi"})
        body = b"".join([b'--xx\r\nContent-Disposition: form-data; name="messaging_product"\r\n\r\nwhatsapp\r\n',
                         b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n',
                         b"Content-Type: text/plain\r\n\r\nlines\r\n--xx--\r\n"])
        status, answer = self.fake.send("POST", "/v23.0/%s/media" % PHONE, body, {
            "Content-Type": "multipart/form-data; boundary=xx", "Authorization": "Bearer " + TOKEN})
        self.assertEqual(status, 200, answer)
        message = self.text(type="document", document={"id": answer["id"], "filename": "a.txt", "caption": "all"})
        del message["text"]
        self.ok(message)
        self.assertEqual(self.fake.control("chat/" + ADA)["messages"][-1]["file"], {"name": "a.txt", "text": "lines"})
        message["document"]["id"] = "1"
        self.refused(message, 400, 100)
        self.end()

    def test_webhooks_are_signed_and_come_again(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        server.heard, server.failures = [], 1
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        hooked = self.fake.control("hook", {"url": "http://127.0.0.1:%d/h" % server.server_port, "verify_token": "v"})
        self.assertEqual(hooked, {"status": 200, "body": "1158201444"})
        self.fake.control("say", {"person": ADA, "name": "Ada", "text": "h\u00e4"})
        deadline = time.monotonic() + 10
        while not server.heard:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        value = server.heard[0]["entry"][0]["changes"][0]["value"]
        self.assertEqual((value["messages"][0]["text"]["body"], value["contacts"][0]["profile"]["name"]), ("h\u00e4", "Ada"))
        for how, status in (("none", 401), ("wrong", 401), ("other", 401), ("right", 200)):
            self.assertEqual(self.fake.control("deliver", {"body": "{}", "signature": how})["status"], status, how)
        self.end()

    def test_ordered_faults(self):
        self.fake.control("say", {"person": ADA, "text": "hi"})
        self.fake.control("faults", [{"route": "messages", "kind": "error", "status": 429, "code": 130429},
                                     {"route": "messages", "kind": "error", "status": 502, "text": "<html>"},
                                     {"route": "messages", "kind": "error_after", "status": 500, "code": 131000},
                                     {"route": "messages", "kind": "drop"}, {"route": "messages", "kind": "drop_after"}])
        self.refused(self.text(), 429, 130429)
        self.assertEqual(self.fake.api("/messages", self.text()), (502, "<html>"))
        self.refused(self.text(text={"body": "1"}), 500, 131000)
        self.assertIsNone(self.fake.api("/messages", self.text(text={"body": "2"})))
        self.assertIsNone(self.fake.api("/messages", self.text(text={"body": "3"})))
        self.assertEqual([m["text"] for m in self.fake.control("chat/" + ADA)["messages"]], ["hi", "1", "3"])
        self.assertEqual(self.fake.api("?fields=id,verified_name", method="GET")[1], {"id": PHONE, "verified_name": "Berth"})
        self.end()


if __name__ == "__main__":
    need("aiohttp", "jsonschema")
    unittest.main(verbosity=1)
