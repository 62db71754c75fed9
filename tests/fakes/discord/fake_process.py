# SPDX-License-Identifier: Apache-2.0
# The fake Discord as the tests that are written in Python start it and speak to it.
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from common.process import Process  # noqa: E402

TOKEN = "MTAwMDAwMDAwMDAwMDAwMDAwMA.GtEstS.a-token-of-the-tests-only-0123456789abcdef"


class FakeProcess(Process):
    def __init__(self):
        super().__init__(HERE, "--token", TOKEN)

    def send(self, method, path, body=None, token=TOKEN):
        return super().send(method, path, body, {"Authorization": "Bot " + token, "User-Agent": "DiscordBot (https://berth.test, 1)"})

    def api(self, method, path, body=None, **more):
        return self.send(method, "/api/v10" + path, body, **more)
