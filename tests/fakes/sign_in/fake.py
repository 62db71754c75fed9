#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# An OpenID provider and a GitHub of one's own on loopback, strict about RFC 8628, RFC 6749 and their own documentation.
"""fake.py: prints {"port": N} when it listens and ends when its standard input closes.

    /                  an OpenID provider: discovery, keys, device authorization, token
    /github, /api/v3   GitHub's device flow, user and organisation membership
    /_control          for the test:
        POST settings  {interval, expires_in, alg, claims: {more or other claims; null leaves one out}, secret}
        POST approve   {user_code, who}   a person confirms; who is a key of PEOPLE; without a code: the newest
        POST deny      {user_code}
        POST expire    {user_code}
        POST rotate    the issuer signs with a new key from now on
        POST fail      {path, times, status (0: the connection is closed)}
        GET  log       every request; what broke a rule has "violation"
"""
import base64
import hmac
import json
import os
import secrets
import sys
import threading
import time
import urllib.parse

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))  # common/
from common.threads import Handler, Server, serve  # noqa: E402

CLIENT = "berth-client"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# Letters without vowels, as RFC 8628 6.1 advises.
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
PEOPLE = {
    "alice": {"id": 1001, "login": "Alice", "orgs": {"acme": "active"}, "groups": ["staff", "dev"]},
    "bob": {"id": 1002, "login": "bob", "orgs": {"acme": "pending"}, "groups": ["guests"]},
    "admin": {"id": 1003, "login": "admin", "orgs": {"acme": "active"}, "groups": ["staff"]},
    "carol": {"id": 1004, "login": "carol\x1b[31m", "orgs": {}, "groups": []},
}


def b64(number, size=None):
    raw = number.to_bytes(size or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Refused(Exception):
    def __init__(self, status, error, description="", violation=False):
        super().__init__(error)
        self.status, self.body, self.violation = status, {"error": error}, violation
        if description:
            self.body["error_description"] = description


class Provider:
    def __init__(self):
        self.lock = threading.Lock()
        self.settings = {"interval": 1, "expires_in": 600, "alg": "RS256", "claims": {}, "secret": ""}
        self.devices, self.tokens, self.faults, self.log, self.keys = {}, {}, [], [], {}
        self.rotate()

    def rotate(self):
        number = len(self.keys) // 2
        self.keys["rsa-%d" % number] = rsa.generate_private_key(65537, 2048)
        self.keys["ec-%d" % number] = ec.generate_private_key(ec.SECP256R1())

    def key_set(self):
        out = []
        for kid, key in self.keys.items():
            n = key.public_key().public_numbers()
            if kid.startswith("rsa"):
                out.append({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": b64(n.n), "e": b64(n.e)})
            else:
                out.append({"kty": "EC", "kid": kid, "use": "sig", "alg": "ES256", "crv": "P-256",
                            "x": b64(n.x, 32), "y": b64(n.y, 32)})
        return {"keys": out}

    def begin(self, form, github):
        code = secrets.token_hex(20)
        letters = "".join(secrets.choice(ALPHABET) for _ in range(8))
        user_code = letters[:4] + "-" + letters[4:]
        self.devices[code] = {"user_code": user_code, "nonce": form.get("nonce"), "github": github, "state": "pending",
                              "end": time.monotonic() + self.settings["expires_in"],
                              "interval": self.settings["interval"], "last": time.monotonic()}
        return code, user_code

    def redeem(self, form):
        """The device that `form` asks for, once it is approved; RFC 8628 3.5 otherwise."""
        if form.get("grant_type") != GRANT:
            raise Refused(400, "unsupported_grant_type", violation=True)
        device = self.devices.get(form.get("device_code", ""))
        if device is None or device["state"] == "used":
            raise Refused(400, "invalid_grant", "no such device code", violation=True)
        now = time.monotonic()
        early = now - device["last"] < device["interval"] - 0.05
        device["last"] = now
        if device["state"] == "denied":
            raise Refused(400, "access_denied")
        if now >= device["end"]:
            raise Refused(400, "expired_token")
        if early:
            device["interval"] += 5
            raise Refused(400, "slow_down", violation=True)
        if device["state"] == "slow":
            device["state"] = "pending"
            raise Refused(400, "slow_down")
        if device["state"] == "pending":
            raise Refused(400, "authorization_pending")
        device["state"] = "used"
        return device

    def id_token(self, device, issuer):
        who = PEOPLE[device["who"]]
        now = int(time.time())
        claims = {"iss": issuer, "sub": "sub-%d" % who["id"], "aud": CLIENT, "iat": now, "exp": now + 300,
                  "preferred_username": who["login"], "groups": who["groups"], "nonce": device["nonce"]}
        claims.update(self.settings["claims"])
        claims = {name: value for name, value in claims.items() if value is not None}
        kind = "rsa" if self.settings["alg"] == "RS256" else "ec"
        kid = [kid for kid in self.keys if kid.startswith(kind)][-1]
        return jwt.encode(claims, self.keys[kid], algorithm=self.settings["alg"], headers={"kid": kid})

    def control(self, name, body):
        if name == "settings":
            self.settings.update(body)
        elif name == "rotate":
            self.rotate()
        elif name == "fail":
            self.faults.append(dict(body))
        else:
            code = body.get("user_code")
            device = next((d for d in reversed(self.devices.values()) if code in (None, d["user_code"])), None)
            if device is None or device["state"] == "used":
                return None
            if name == "expire":
                device["end"] = 0
            else:
                device["state"] = {"approve": "approved", "deny": "denied", "slow": "slow"}[name]
                device["who"] = body.get("who")
        return {}


class SignInHandler(Handler):
    @property
    def base(self):
        return "http://127.0.0.1:%d" % self.server.server_port

    def answer(self, status, body, kind="application/json"):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(text)

    def handle_one(self, method):
        provider = self.server.provider
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path = self.path
        if path.startswith("/_control/"):
            with provider.lock:
                if path == "/_control/log":
                    return self.answer(200, provider.log)
                done = provider.control(path[len("/_control/"):], json.loads(body or "{}"))
                return self.answer(200 if done is not None else 404, done)
        entry = {"method": method, "path": path}
        with provider.lock:
            provider.log.append(entry)
            for fault in provider.faults:
                if fault["path"] == path and fault["times"] > 0:
                    fault["times"] -= 1
                    if fault["status"] == 0:
                        self.close_connection = True
                        return None
                    return self.answer(fault["status"], {"error": "server_error", "message": "as asked"})
            try:
                status, answer = self.serve(method, path, body)
            except Refused as refused:
                if refused.violation:
                    entry["violation"] = refused.body
                # GitHub tells a flow's errors with 200.
                status = 200 if path.startswith("/github/") and refused.status == 400 else refused.status
                answer = refused.body
        return self.answer(status, answer)

    def form(self, body):
        if self.headers.get("Content-Type") != "application/x-www-form-urlencoded":
            raise Refused(400, "invalid_request", "the body must be a form", violation=True)
        pairs = urllib.parse.parse_qsl(body, keep_blank_values=True, strict_parsing=True)
        if len({name for name, _ in pairs}) != len(pairs):  # RFC 6749, 3.1
            raise Refused(400, "invalid_request", "a parameter is there twice", violation=True)
        if self.headers.get("Accept") != "application/json":
            raise Refused(400, "invalid_request", "GitHub answers JSON only to who accepts it", violation=True)
        return dict(pairs)

    def check_client(self, form, secret):
        if form.get("client_id") != CLIENT:
            raise Refused(401, "invalid_client", violation=True)
        if not secret:
            return
        kind, _, value = (self.headers.get("Authorization") or "").partition(" ")
        try:
            name, _, word = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            name, word = "", ""
        name, word = urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(word)
        if kind != "Basic" or name != CLIENT or not hmac.compare_digest(word, secret):
            raise Refused(401, "invalid_client", violation=True)

    def serve(self, method, path, body):
        if path.startswith("/github/"):
            return self.github(method, path[len("/github"):], body)
        if path.startswith("/api/v3/"):
            return self.github_api(method, path[len("/api/v3"):])
        return self.oidc(method, path, body)

    def oidc(self, method, path, body):
        provider = self.server.provider
        if (method, path) == ("GET", "/.well-known/openid-configuration"):
            return 200, {"issuer": self.base, "device_authorization_endpoint": self.base + "/device",
                         "token_endpoint": self.base + "/token", "jwks_uri": self.base + "/keys",
                         "id_token_signing_alg_values_supported": ["RS256", "ES256"]}
        if (method, path) == ("GET", "/keys"):
            return 200, provider.key_set()
        if (method, path) == ("POST", "/device"):
            form = self.form(body)
            self.check_client(form, provider.settings["secret"])
            if "openid" not in form.get("scope", "").split(" "):
                raise Refused(400, "invalid_scope", "without openid there is no ID token", violation=True)
            code, user_code = provider.begin(form, False)
            return 200, {"device_code": code, "user_code": user_code, "verification_uri": self.base + "/activate",
                         "verification_uri_complete": self.base + "/activate?user_code=" + user_code,
                         "expires_in": provider.settings["expires_in"], "interval": provider.settings["interval"]}
        if (method, path) == ("POST", "/token"):
            form = self.form(body)
            self.check_client(form, provider.settings["secret"])
            device = provider.redeem(form)
            return 200, {"access_token": secrets.token_hex(20), "token_type": "Bearer", "expires_in": 300,
                         "id_token": provider.id_token(device, self.base)}
        raise Refused(404, "not_found", violation=True)

    def github(self, method, path, body):
        provider = self.server.provider
        if (method, path) == ("POST", "/login/device/code"):
            form = self.form(body)
            self.check_client(form, "")
            code, user_code = provider.begin(form, True)
            provider.devices[code]["scope"] = form.get("scope", "")
            return 200, {"device_code": code, "user_code": user_code, "expires_in": provider.settings["expires_in"],
                         "verification_uri": self.base + "/login/device", "interval": provider.settings["interval"]}
        if (method, path) == ("POST", "/login/oauth/access_token"):
            form = self.form(body)
            self.check_client(form, "")
            device = provider.redeem(form)
            token = "gho_" + secrets.token_hex(18)
            provider.tokens[token] = device
            return 200, {"access_token": token, "token_type": "bearer", "scope": device["scope"]}
        raise Refused(404, "not_found", violation=True)

    def github_api(self, method, path):
        if not self.headers.get("User-Agent"):
            raise Refused(403, "forbidden", "a User-Agent is required", violation=True)
        kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
        device = self.server.provider.tokens.get(token)
        if kind not in ("Bearer", "token") or device is None:
            raise Refused(401, "bad_credentials", violation=True)
        who = PEOPLE[device["who"]]
        if (method, path) == ("GET", "/user"):
            return 200, {"id": who["id"], "login": who["login"], "type": "User"}
        if method == "GET" and path.startswith("/user/memberships/orgs/"):
            if "read:org" not in device["scope"].split(" "):
                raise Refused(403, "forbidden", "the scope read:org is missing", violation=True)
            state = who["orgs"].get(path.rsplit("/", 1)[1])
            return (200, {"state": state, "role": "member"}) if state else (404, {"message": "Not Found"})
        raise Refused(404, "not_found", violation=True)

    def do_GET(self):
        self.handle_one("GET")

    def do_POST(self):
        self.handle_one("POST")


def main():
    server = Server(0, SignInHandler)
    server.provider = Provider()
    serve(server)


if __name__ == "__main__":
    main()
