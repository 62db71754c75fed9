# SPDX-License-Identifier: Apache-2.0
# Starts the fake Discord for the tests that are written in Python, and speaks HTTP to it.
import http.client
import json
import os
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOKEN = "MTAwMDAwMDAwMDAwMDAwMDAwMA.GtEstS.a-token-of-the-tests-only-0123456789abcdef"
SKIPPED = 77  # what ctest counts as skipped, and says so


class FakeProcess:
    def __init__(self):
        self.process = subprocess.Popen(
            ["/usr/bin/python3", "-B", os.path.join(HERE, "fake.py"), "--token", TOKEN],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.url = "http://127.0.0.1:%d" % self.port
        self.headers = {}

    def stop(self):
        self.process.stdin.close()  # it ends with its parent
        self.process.wait(10)
        self.process.stdout.close()

    def send(self, method, path, body=None, token=TOKEN):
        """(status, parsed answer or text) of one request; None when the connection ends without one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": "Bot " + token, "User-Agent": "DiscordBot (https://berth.test, 1)"}
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            self.headers = answer.headers
            return answer.status, json.loads(text) if text[:1] in ("{", "[") else text
        except (http.client.HTTPException, ConnectionError):
            return None
        finally:
            connection.close()

    def api(self, method, path, body=None, **more):
        return self.send(method, "/api/v10" + path, body, **more)

    def control(self, method, name, body=None):
        status, answer = self.send(method, "/_fake/" + name, body)
        assert status == 200, (name, status, answer)
        return answer

    def wait(self, what, seconds=15):
        """Until what() gives something true; that."""
        deadline = time.monotonic() + seconds
        while True:
            found = what()
            if found:
                return found
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.02)
