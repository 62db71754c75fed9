# SPDX-License-Identifier: Apache-2.0
# The fake Slack as the tests that are written in Python start it and speak to it.
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from common.process import Process  # noqa: E402


class FakeProcess(Process):
    def __init__(self):
        super().__init__(HERE)
