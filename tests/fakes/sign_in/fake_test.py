#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Keeps the fake sign-in provider honest: others' implementations (oauthlib's device client, PyJWT) must get on with it.
import json
import os
import sys
import time
import unittest
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from common.process import Process  # noqa: E402
from common.skipping import need  # noqa: E402

need("jwt", "oauthlib")
import jwt  # noqa: E402
from oauthlib.oauth2 import DeviceClient  # noqa: E402
from oauthlib.oauth2.rfc6749 import errors  # noqa: E402

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the fake is on loopback
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


class FakeTest(unittest.TestCase):
    def setUp(self):
        self.fake = Process(HERE, control="/_control/")
        self.addCleanup(self.fake.stop)
        self.base = self.fake.url
        self.client = DeviceClient("berth-client", scope=["openid", "profile"])

    def begin(self):
        uri = self.client.prepare_request_uri(self.base + "/device", scope=["openid"])
        status, answer = self.fake.send("POST", "/device", urllib.parse.urlsplit(uri).query + "&nonce=n1", FORM)
        self.assertEqual(status, 200, answer)
        for member in ("device_code", "user_code", "verification_uri", "expires_in"):  # RFC 8628, 3.2: required
            self.assertIn(member, answer)
        return answer

    def poll(self, begun):
        body = self.client.prepare_request_body(begun["device_code"], include_client_id=True)
        return self.client.parse_request_body_response(json.dumps(self.fake.send("POST", "/token", body, FORM)[1]))

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
        self.fake.control("approve", {"user_code": begun["user_code"], "who": "alice"})
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
            self.fake.control(name, {"user_code": begun["user_code"]})
            time.sleep(begun["interval"])
            try:
                self.poll(begun)
                self.fail("no error")
            except errors.OAuth2Error as refused:
                self.assertEqual(refused.error, error)


if __name__ == "__main__":
    unittest.main()
