#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Keeps the fake sign-in provider honest: others' implementations (oauthlib's device client, PyJWT) must get on with it.
import json
import os
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

SKIPPED = 77
try:
    import jwt
    from oauthlib.oauth2 import DeviceClient
    from oauthlib.oauth2.rfc6749 import errors
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(SKIPPED)

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the fake is on loopback
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


class FakeTest(unittest.TestCase):
    def setUp(self):
        self.process = subprocess.Popen([sys.executable, "-B", os.path.join(HERE, "fake.py")],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.base = "http://127.0.0.1:%d" % json.loads(self.process.stdout.readline())["port"]
        self.client = DeviceClient("berth-client", scope=["openid", "profile"])

    def tearDown(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def send(self, url, body=None, headers=None):
        request = urllib.request.Request(url, body.encode() if body is not None else None, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def control(self, name, body):
        self.assertEqual(self.send(self.base + "/_control/" + name, json.dumps(body))[0], 200)

    def begin(self):
        uri = self.client.prepare_request_uri(self.base + "/device", scope=["openid"])
        status, text = self.send(self.base + "/device", urllib.parse.urlsplit(uri).query + "&nonce=n1", FORM)
        self.assertEqual(status, 200, text)
        answer = json.loads(text)
        for member in ("device_code", "user_code", "verification_uri", "expires_in"):  # RFC 8628, 3.2: required
            self.assertIn(member, answer)
        return answer

    def poll(self, begun):
        body = self.client.prepare_request_body(begun["device_code"], include_client_id=True)
        return self.client.parse_request_body_response(self.send(self.base + "/token", body, FORM)[1])

    def test_another_client_signs_in(self):
        begun = self.begin()
        time.sleep(begun["interval"])
        with self.assertRaises(errors.CustomOAuth2Error) as pending:
            self.poll(begun)
        self.assertEqual(pending.exception.error, "authorization_pending")
        with self.assertRaises(errors.CustomOAuth2Error) as hasty:
            self.poll(begun)
        self.assertEqual(hasty.exception.error, "slow_down")
        begun = self.begin()
        self.control("approve", {"user_code": begun["user_code"], "who": "alice"})
        time.sleep(begun["interval"])
        token = self.poll(begun)["id_token"]
        key = jwt.PyJWKClient(self.base + "/keys").get_signing_key_from_jwt(token)
        claims = jwt.decode(token, key.key, algorithms=["RS256", "ES256"], audience="berth-client", issuer=self.base)
        self.assertEqual(claims["nonce"], "n1")
        with self.assertRaises(errors.InvalidGrantError):  # a code is good once
            self.poll(begun)

    def test_denied_and_expired(self):
        for name, error in (("deny", "access_denied"), ("expire", "expired_token")):
            begun = self.begin()
            self.control(name, {"user_code": begun["user_code"]})
            time.sleep(begun["interval"])
            try:
                self.poll(begun)
                self.fail("no error")
            except errors.OAuth2Error as refused:
                self.assertEqual(refused.error, error)


if __name__ == "__main__":
    unittest.main()
