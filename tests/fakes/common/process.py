# SPDX-License-Identifier: Apache-2.0
# A fake as a child of a test that is written in Python, and HTTP to it.
import http.client
import json
import os
import subprocess
import sys


class Process:
    """The fake.py of `folder`, whose control side is below `control`; `headers` go with each request. `received` are the
    headers of the last answer."""

    def __init__(self, folder, *arguments, control="/_fake/", headers=None):
        self.process = subprocess.Popen([sys.executable, "-B", os.path.join(folder, "fake.py"), *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.url = "http://127.0.0.1:%d" % self.port
        self.control_path, self.headers, self.received = control, headers or {}, {}

    def stop(self):
        self.process.stdin.close()  # it ends with its parent
        self.process.wait(10)
        self.process.stdout.close()

    def send(self, method, path, body=None, headers=None):
        """(status, parsed answer or text) of one request; None when the connection ends without one. `body`: bytes and
        texts go as they are, anything else as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {**self.headers, **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            headers.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, str) else json.dumps(body)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            self.received = answer.headers
            return answer.status, json.loads(text) if text[:1] in ("{", "[") else text
        except (http.client.HTTPException, ConnectionError):
            return None
        finally:
            connection.close()

    def control(self, name, body=None):
        """What the control side says to POST of `body`, or to GET."""
        status, answer = self.send("GET" if body is None else "POST", self.control_path + name, body)
        assert status == 200, (name, status, answer)
        return answer
