#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A strict EC2 on loopback for tests: its own in memory, or moto behind it, with the same faults before both.
"""usage: ec2_fake.py [--port N] [--upstream http://127.0.0.1:PORT]     prints "port N" when it listens

The API is at "/". For tests, unsigned:
  POST   /_control/reset
  POST   /_control/rules      a JSON list of rules, added; see Front.rule_for and Front.obey
  POST   /_control/clear_rules
  POST   /_control/set        {"clock_offset": seconds, "page_size": n, "hide_looks": n, "pending_looks": n, "ending_looks": n}
  POST   /_control/raw        {"region": …, "Action": …}: straight to the EC2 behind, for what somebody else made
  GET    /_control/inventory  everything there is, in every region
  GET    /_control/log        every signed request so far, without user data
  GET    /_control/user_data  what each RunInstances brought, in base64, by its client token
  POST   /_control/kill       {"pid": …, "at": n, "after": bool}: kill -9 at the n-th signed request from now, before or
                              after it is carried out
"""
import argparse
import email.utils
import http.client
import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))  # common/
from common.threads import Handler, Server  # noqa: E402
from ec2_front import Front, child, parse, text_of  # noqa: E402
from ec2_memory import Ec2Memory, Failure  # noqa: E402


class Moto:
    """moto_server; it takes the region from the credential scope and looks at nothing else of it."""

    def __init__(self, url):
        self.address = urllib.parse.urlsplit(url).netloc
        self.regions = set()

    def touched(self):
        return sorted(self.regions)

    def send(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text

    def reset(self):
        self.regions.clear()
        self.send("POST", "/moto-api/reset")

    def call(self, region, params, peek=False):
        self.regions.add(region)
        if params["Action"] == "DeleteKeyPair" and "KeyPairId" in params:
            params = self.key_by_name(region, params)
        return self.send("POST", "/", urllib.parse.urlencode(params), {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": "AWS4-HMAC-SHA256 Credential=fake/20260101/%s/ec2/aws4_request, SignedHeaders=host, Signature=0" % region})


    def key_by_name(self, region, params):
        """moto deletes keys by name only, and says that it was done where no name is given."""
        _, body = self.call(region, {"Action": "DescribeKeyPairs", "Version": params["Version"]})
        names = {text_of(key, "keyPairId"): text_of(key, "keyName") for key in child(parse(body), "keySet")}
        if params["KeyPairId"] not in names:
            raise Failure("InvalidKeyPair.NotFound", "The key pair ID '%s' does not exist" % params["KeyPairId"])
        return {"Action": "DeleteKeyPair", "Version": params["Version"], "KeyName": names[params["KeyPairId"]]}


class Ec2Handler(Handler):
    front = None

    def reply(self, status, body, kind):
        data = body.encode()
        head = "HTTP/1.1 %d X\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (
            status, email.utils.format_datetime(self.front.now(), usegmt=True), kind, len(data))
        try:
            self.wfile.write(head.encode() + data)
        except ConnectionError:  # the client's time was up
            self.close_connection = True

    def control(self, method, body):
        front, path = self.front, self.path[len("/_control/"):]
        asked = json.loads(body) if body else {}
        with front.lock:
            if (method, path) == ("GET", "inventory"):
                return front.inventory()
            if (method, path) == ("GET", "log"):
                return front.log
            if (method, path) == ("POST", "reset"):
                front.reset()
            elif (method, path) == ("POST", "rules"):
                front.rules.extend(asked)
            elif (method, path) == ("POST", "clear_rules"):
                front.rules.clear()
            elif (method, path) == ("GET", "user_data"):
                return front.user_data
            elif (method, path) == ("POST", "kill"):
                front.kill.order = asked
            elif (method, path) == ("POST", "set"):
                for name, value in asked.items():
                    target = front if hasattr(front, name) else front.upstream
                    setattr(target, name, value)
            elif (method, path) == ("POST", "raw"):
                region = asked.pop("region")
                status, answer = front.upstream.call(region, {"Version": "2016-11-15", **asked})
                return {"status": status, "body": answer}
            else:
                raise Failure("NoSuchControl", path)
            return {}

    def serve(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/_control/"):
            try:
                self.reply(200, json.dumps(self.control(method, body)), "application/json")
            except Failure as failure:
                self.reply(400, failure.message, "text/plain")
            return
        kind = (self.headers.get("Content-Type") or "").split(";")[0]
        if method != "POST" or self.path != "/" or kind != "application/x-www-form-urlencoded":
            self.reply(405, "only POST / with a form", "text/plain")
            return
        pairs = urllib.parse.parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        answer = self.front.handle(list(self.headers.items()), body, pairs)
        if answer is None:
            self.close_connection = True
            return
        self.reply(*answer, "text/xml;charset=UTF-8")

    def do_GET(self):
        self.serve("GET")

    def do_POST(self):
        self.serve("POST")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--upstream")
    options = parser.parse_args()
    Ec2Handler.front = Front(Moto(options.upstream) if options.upstream else Ec2Memory())
    server = Server(options.port, Ec2Handler)
    print("port %d" % server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
