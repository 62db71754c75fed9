# SPDX-License-Identifier: Apache-2.0
# The fake Hetzner Cloud as the tests that are written in Python start it and speak to it.
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from common.process import Process  # noqa: E402

TOKEN = "test-token"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMheegDldCBfpU0SYlgct68mvZ3KAkrKSLxzNbMEnl4m someone"


class FakeProcess(Process):
    def __init__(self):
        super().__init__(HERE, "--token", TOKEN, control="/_control/", headers={"Authorization": "Bearer " + TOKEN})
        self.url += "/v1"

    def api(self, method, path, body=None, **more):
        return self.send(method, "/v1" + path, body, **more)
