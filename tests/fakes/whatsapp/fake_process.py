# SPDX-License-Identifier: Apache-2.0
# The fake WhatsApp as the tests that are written in Python start it and speak to it.
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from common.process import Process  # noqa: E402

TOKEN = "EAAB-a_token_of_the_tests_only.0123456"
SECRET = "an-app-secret-of-the-tests"
PHONE = "106540352242922"


class FakeProcess(Process):
    def __init__(self):
        super().__init__(HERE, "--token", TOKEN, "--app-secret", SECRET, "--phone-id", PHONE)

    def api(self, path, body=None, method="POST", token=TOKEN):
        return self.send(method, "/v23.0/%s%s" % (PHONE, path), body, {"Authorization": "Bearer " + token})
