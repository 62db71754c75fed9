# SPDX-License-Identifier: Apache-2.0
# Starts the fake provider for the tests that are written in Python, and speaks HTTP to it.
import http.client
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOKEN = "test-token"
SKIPPED = 77  # what ctest counts as skipped, and says so
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMheegDldCBfpU0SYlgct68mvZ3KAkrKSLxzNbMEnl4m someone"


class FakeProcess:
    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-B", os.path.join(HERE, "fake.py"), "--token", TOKEN],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.url = "http://127.0.0.1:%d/v1" % self.port

    def stop(self):
        self.process.stdin.close()  # it ends with its parent
        self.process.wait(10)
        self.process.stdout.close()

    def send(self, method, path, body=None, headers=None):
        """(status, parsed answer or text) of one request; None when the connection ends without one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {"Authorization": "Bearer " + TOKEN}
        if body is not None:
            sent["Content-Type"] = "application/json"
            body = body if isinstance(body, str) else json.dumps(body)
        try:
            connection.request(method, path, body, {**sent, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
            self.headers = answer.headers
            return answer.status, json.loads(text) if text[:1] in ("{", "[") else text
        except (http.client.HTTPException, ConnectionError):
            return None
        finally:
            connection.close()

    def api(self, method, path, body=None, **more):
        return self.send(method, "/v1" + path, body, **more)

    def control(self, method, name, body=None):
        status, answer = self.send(method, "/_control/" + name, body)
        assert status == 200, answer
        return answer
