# SPDX-License-Identifier: Apache-2.0
# The fake Telegram as the tests that are written in Python start it and speak to it.
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from common.process import Process  # noqa: E402

TOKEN = "700100200:AAE-a_token_of_the_tests_only-0123456"


class FakeProcess(Process):
    def __init__(self):
        super().__init__(HERE, "--token", TOKEN)

    def api(self, method, body=None, token=TOKEN):
        return self.send("POST", "/bot%s/%s" % (token, method), body or {})
