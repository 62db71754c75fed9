#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Holds the fake Hetzner to the provider's description: it refuses what that forbids, and answers only what it allows.
"""The answers are judged by Debian's python3-jsonschema, not by the fake's own validator, so that a mistake in that
one shows. Without the package that part is skipped, and the exit status says so."""
import sys
import time
import unittest

from fake_process import KEY, FakeProcess

from common.openapi import read_spec
from common.skipping import skip

try:
    import jsonschema
except ImportError:
    jsonschema = None

SERVER = {"name": "one", "server_type": "cx22", "image": "debian-12", "location": "fsn1"}


def as_json_schema(node):
    """OpenAPI 3.0 to JSON Schema draft 4: "nullable" becomes a type, and named members are all there are."""
    if isinstance(node, list):
        return [as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: as_json_schema(value) for key, value in node.items() if key not in ("example", "nullable")}
    if isinstance(out.get("properties"), dict) and isinstance(out.get("type"), str):
        out.setdefault("additionalProperties", False)
    return {"anyOf": [{"type": "null"}, out]} if node.get("nullable") is True else out


class FakeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fake = FakeProcess()

    @classmethod
    def tearDownClass(cls):
        cls.fake.stop()

    def setUp(self):
        self.fake.control("reset", {})

    def api(self, *words, **more):
        return self.fake.api(*words, **more)

    def make_server(self, **more):
        status, answer = self.api("POST", "/servers", {**SERVER, **more})
        self.assertEqual(status, 201, answer)
        return answer

    def wait_for(self, path, member, status):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            answer = self.api("GET", path)[1]
            if answer.get(member, {}).get("status") == status:
                return answer[member]
        return self.fail("%s is not %s: %s" % (path, status, answer))


class Strictness(FakeTest):
    REFUSED = [
        ("a member that is not described", "/servers", {**SERVER, "colour": "red"}),
        ("a wrong type", "/servers", {**SERVER, "labels": ["a"]}),
        ("a number for a text", "/servers", {**SERVER, "user_data": 7}),
        ("a text for a number", "/servers", {**SERVER, "firewalls": [{"firewall": "1"}]}),
        ("a null", "/servers", {**SERVER, "location": None}),
        ("a missing member", "/servers", {"name": "one", "image": "debian-12"}),
        ("a label value too long", "/servers", {**SERVER, "labels": {"a": "x" * 64}}),
        ("a label value with a bad end", "/servers", {**SERVER, "labels": {"a": "x-"}}),
        ("a label value with a newline", "/servers", {**SERVER, "labels": {"a": "x\n"}}),
        ("a key's missing half", "/ssh_keys", {"name": "k"}),
        ("a body that is no object", "/servers", []),
    ]
    WRONG = [
        ("a label key with a space", "/servers", {**SERVER, "labels": {"a b": "x"}}),
        ("a reserved label key", "/servers", {**SERVER, "labels": {"hetzner.cloud/a": "x"}}),
        ("a name that is no host name", "/servers", {**SERVER, "name": "m_01"}),
        ("user data that is too large", "/servers", {**SERVER, "user_data": "x" * 32769}),
        ("an unknown type", "/servers", {**SERVER, "server_type": "cx0"}),
        ("an unknown image", "/servers", {**SERVER, "image": "plan9"}),
        ("an unknown key", "/servers", {**SERVER, "ssh_keys": ["nobody"]}),
        ("a type not sold there", "/servers", {**SERVER, "server_type": "cx92"}),
        ("another architecture", "/servers", {**SERVER, "server_type": "cax11", "image": "ubuntu-24.04"}),
        ("a key that is none", "/ssh_keys", {"name": "k", "public_key": "ssh-ed25519 AAAA"}),
    ]

    def test_what_the_description_forbids_is_refused_and_counted(self):
        for number, (what, path, body) in enumerate(self.REFUSED, 1):
            with self.subTest(what):
                status, answer = self.api("POST", path, body)
                self.assertEqual((status, answer["error"]["code"]), (422, "invalid_input"))
                self.assertGreaterEqual(len(self.fake.control("state")["violations"]), number)
        self.assertEqual(self.fake.control("state")["servers"], [])

    def test_what_the_service_refuses_is_refused(self):
        for what, path, body in self.WRONG:
            with self.subTest(what):
                status, answer = self.api("POST", path, body)
                self.assertEqual((status, answer["error"]["code"]), (422, "invalid_input"))

    def test_transport(self):
        self.assertEqual(self.api("GET", "/servers", headers={"Authorization": "Bearer other"})[0], 401)
        self.assertEqual(self.api("GET", "/servers", headers={"Authorization": ""})[0], 401)
        self.assertEqual(self.api("POST", "/servers", "{")[0], 400)
        self.assertEqual(self.api("POST", "/servers", SERVER, headers={"Content-Type": "text/plain"})[0], 415)
        self.assertEqual(self.api("GET", "/nothing")[0], 404)
        self.assertEqual(self.fake.send("GET", "/servers")[0], 404, "the base path is /v1")
        self.assertEqual(self.api("GET", "/servers?colour=red")[0], 422)
        self.assertEqual(self.api("GET", "/servers?page=two")[0], 422)
        self.assertEqual(self.api("GET", "/servers?per_page=51")[0], 422)
        self.assertEqual(self.api("GET", "/servers?label_selector=a%20b")[0], 422)
        self.assertEqual(self.api("GET", "/servers/1x")[0], 404)

    def test_names_and_keys_are_unique(self):
        self.make_server()
        status, answer = self.api("POST", "/servers", SERVER)
        self.assertEqual((status, answer["error"]["code"]), (409, "uniqueness_error"))
        self.assertEqual(self.api("POST", "/ssh_keys", {"name": "a", "public_key": KEY})[0], 201)
        for again in ({"name": "a", "public_key": KEY}, {"name": "b", "public_key": KEY}):
            status, answer = self.api("POST", "/ssh_keys", again)
            self.assertEqual((status, answer["error"]["code"]), (409, "uniqueness_error"))

    def test_a_server_without_a_key_gets_a_password_by_mail(self):
        self.assertIsNotNone(self.make_server()["root_password"])
        self.api("POST", "/ssh_keys", {"name": "k", "public_key": KEY})
        self.assertIsNone(self.make_server(name="two", ssh_keys=["k"])["root_password"])
        self.assertEqual(self.fake.control("state")["passwords_mailed"], 1)


class Behaviour(FakeTest):
    def test_a_server_starts_and_goes_with_its_addresses(self):
        self.fake.control("settings", {"action_ms": 30})
        made = self.make_server()
        self.assertEqual((made["server"]["status"], made["action"]["status"]), ("initializing", "running"))
        path = "/servers/%d" % made["server"]["id"]
        self.wait_for(path, "server", "running")
        self.wait_for("/actions/%d" % made["action"]["id"], "action", "success")
        self.assertEqual(len(self.fake.control("state")["primary_ips"]), 2)
        self.assertEqual(self.api("DELETE", path)[0], 200)
        self.assertEqual(self.api("POST", "/servers", SERVER)[0], 409, "the name is held until it is gone")
        deadline = time.monotonic() + 10
        while self.api("GET", path)[0] != 404:
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(self.fake.control("state")["primary_ips"], [])

    def test_pages_cover_everything_once(self):
        for number in range(7):
            self.make_server(name="s%d" % number, labels={"odd": str(number % 2)})
        seen, page = [], 1
        while page:
            answer = self.api("GET", "/servers?label_selector=odd%%3D1&per_page=2&page=%d" % page)[1]
            seen += [server["name"] for server in answer["servers"]]
            page = answer["meta"]["pagination"]["next_page"]
        self.assertEqual(seen, ["s1", "s3", "s5"])

    def test_faults_come_where_they_were_arranged(self):
        self.fake.control("faults", [
            {"method": "POST", "path": "/servers", "kind": "error", "status": 412, "code": "resource_unavailable",
             "when": {"location": "fsn1"}},
            {"method": "GET", "path": "/servers", "kind": "error", "status": 503, "code": "unavailable", "skip": 1}])
        self.assertEqual(self.api("POST", "/servers", {**SERVER, "location": "nbg1"})[0], 201)
        self.assertEqual(self.api("POST", "/servers", {**SERVER, "name": "two"})[0], 412)
        self.assertEqual([self.api("GET", "/servers")[0] for _ in range(3)], [200, 503, 200])
        for kind, done in (("lost", 1), ("cut", 1), ("lost_before", 0)):
            self.fake.control("reset", {})
            self.fake.control("faults", [{"method": "POST", "path": "/servers", "kind": kind}])
            self.assertIsNone(self.api("POST", "/servers", SERVER))
            self.assertEqual(len(self.fake.control("state")["servers"]), done)

    def test_the_rate_limit_is_told_and_kept(self):
        self.fake.control("settings", {"rate_limit": 10, "rate_remaining": 2})
        self.assertEqual(self.api("GET", "/servers")[0], 200)
        self.assertEqual(self.fake.received["RateLimit-Limit"], "10")
        self.assertEqual(self.fake.received["RateLimit-Remaining"], "1")
        self.assertGreater(int(self.fake.received["RateLimit-Reset"]), time.time())
        self.assertEqual([self.api("GET", "/servers")[0] for _ in range(2)], [200, 429])


@unittest.skipIf(jsonschema is None, "python3-jsonschema is not installed")
class Answers(FakeTest):
    """Every kind of answer, judged by a validator that is not the fake's."""

    def exercise(self):
        api, control = self.api, self.fake.control
        key = api("POST", "/ssh_keys", {"name": "k", "public_key": KEY, "labels": {"a": "b"}})[1]["ssh_key"]
        wall = api("POST", "/firewalls", {"name": "w", "rules": [
            {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"]}]})[1]["firewall"]
        made = self.make_server(ssh_keys=["k"], firewalls=[{"firewall": wall["id"]}], labels={"a": "b"})
        server = "/servers/%d" % made["server"]["id"]
        for kind in ("servers", "ssh_keys", "primary_ips", "volumes", "firewalls", "images", "server_types",
                     "locations", "datacenters"):
            self.assertEqual(api("GET", "/" + kind)[0], 200)
        ip = control("state")["primary_ips"][0]["id"]
        for path in (server, "/ssh_keys/%d" % key["id"], "/firewalls/%d" % wall["id"], "/primary_ips/%d" % ip,
                     "/images/101", "/server_types/1", "/locations/1", "/datacenters/1", "/servers/7",
                     "/actions/%d" % made["action"]["id"], "/actions?id=%d" % made["action"]["id"]):
            api("GET", path)
        for path, body in ((server, {"labels": {}}), ("/ssh_keys/%d" % key["id"], {"name": "n"}),
                           ("/primary_ips/%d" % ip, {"labels": {"a": "b"}})):
            self.assertEqual(api("PUT", path, body)[0], 200)
        self.wait_for(server, "server", "running")
        control("faults", [
            {"method": "GET", "path": "/servers", "kind": "error", "status": status, "code": code}
            for status, code in ((412, "placement_error"), (403, "resource_limit_exceeded"), (429, "rate_limit_exceeded"),
                                 (423, "locked"), (409, "conflict"), (503, "unavailable"))])
        for _ in range(6):
            api("GET", "/servers")
        self.assertEqual(api("POST", server + "/actions/poweron")[0], 201)
        api("DELETE", "/primary_ips/%d" % ip)
        api("DELETE", "/firewalls/%d" % wall["id"])
        for kind in ("no_address", "never_running", "failed_action"):
            control("faults", [{"method": "POST", "path": "/servers", "kind": kind}])
            self.make_server(name=kind.replace("_", "-"), public_net={"enable_ipv6": False})
        time.sleep(0.05)  # longer than an action takes: the failed one is read as failed
        for action in range(1001, 1040):
            api("GET", "/actions/%d" % action)
        self.assertEqual(api("DELETE", server)[0], 200)
        self.assertEqual(api("DELETE", "/ssh_keys/%d" % key["id"])[0], 204)
        api("POST", "/servers", {"name": 7})

    def test_every_answer_is_as_described(self):
        document = as_json_schema(read_spec("hcloud-reduced.json"))
        self.exercise()
        judged, statuses = set(), set()
        for entry in self.fake.control("log"):
            if entry["template"] is None:
                continue
            responses = document["paths"][entry["template"]][entry["method"].lower()]["responses"]
            status = entry["status"]
            response = responses.get(str(status)) or responses["%dxx" % (status // 100)]
            if "content" not in response:
                self.assertIsNone(entry["answer"])
            else:
                schema = {**response["content"]["application/json"]["schema"], "components": document["components"]}
                where = "%s %s %d" % (entry["method"], entry["path"], status)
                for error in jsonschema.Draft4Validator(schema).iter_errors(entry["answer"]):
                    self.fail("%s: %s at %s" % (where, error.message, list(error.path)))
            judged.add((entry["method"], entry["template"]))
            statuses.add(status)
        self.assertGreaterEqual(len(judged), 28, sorted(judged))
        self.assertLessEqual({200, 201, 204, 403, 404, 409, 412, 422, 423, 429, 503}, statuses)
        self.assertEqual(self.fake.control("state")["flaws"], [])

    def test_the_other_validator_would_notice(self):
        document = as_json_schema(read_spec("hcloud-reduced.json"))
        schema = {"$ref": "#/components/schemas/ssh_key", "components": document["components"]}
        good = {"created": "2024-01-30T23:55:00Z", "fingerprint": "a", "id": 1, "labels": {}, "name": "k",
                "public_key": "x"}
        self.assertTrue(jsonschema.Draft4Validator(schema).is_valid(good))
        for bad in ({**good, "id": "1"}, {**good, "name": None}, {**good, "more": 1}, {"id": 1},
                    {**good, "labels": {"a": "-"}}):
            self.assertFalse(jsonschema.Draft4Validator(schema).is_valid(bad), bad)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=2).result
    if not result.wasSuccessful():
        sys.exit(1)
    if jsonschema is None:
        skip("python3-jsonschema is not installed; the answers were not judged")
