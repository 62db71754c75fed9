# SPDX-License-Identifier: Apache-2.0
# Starts the fake Slack for the tests that are written in Python, and speaks HTTP to it.
import http.client
import json
import os
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77  # what ctest counts as skipped, and says so


class FakeProcess:
    def __init__(self):
        self.process = subprocess.Popen(["/usr/bin/python3", "-B", os.path.join(HERE, "fake.py")],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.url = "http://127.0.0.1:%d" % self.port

    def stop(self):
        self.process.stdin.close()  # it ends with its parent
        self.process.wait(10)
        self.process.stdout.close()

    def send(self, method, path, body=None, headers=None):
        """(status, parsed answer or text) of one request; None when the connection ends without one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            headers.setdefault("Content-Type", "application/json")
            body = json.dumps(body)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text[:1] in ("{", "[") else text
        except (http.client.HTTPException, ConnectionError):
            return None
        finally:
            connection.close()

    def control(self, name, body=None):
        status, answer = self.send("GET" if body is None else "POST", "/_fake/" + name, body)
        assert status == 200, (name, status, answer)
        return answer

    def eventually(self, what, patience=10):
        until = time.monotonic() + patience
        while time.monotonic() < until:
            got = what()
            if got:
                return got
            time.sleep(0.02)
        raise AssertionError("it did not happen: %s" % what)
