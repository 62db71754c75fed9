#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Slack's own libraries against the fake. usage: sdk_test.py FOLDER (where npm may install them)
"""Without node or the packages the test is skipped, and the exit status says so."""
import os
import shutil
import subprocess
import sys

import world
from fake_process import SKIPPED, FakeProcess

HERE = os.path.dirname(os.path.abspath(__file__))


def install(folder):
    """True when the libraries are in `folder`."""
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(HERE, "package.json"), folder)
    if os.path.isdir(os.path.join(folder, "node_modules", "@slack", "bolt", "dist")):
        return True
    npm = shutil.which("npm")
    return npm is not None and subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts"], cwd=folder, timeout=240).returncode == 0


def main():
    folder = sys.argv[1]
    if shutil.which("node") is None or not install(folder):
        print("SKIPPED: node or Slack's libraries are not to be had; the fake was not held to them")
        return SKIPPED
    fake = FakeProcess()
    try:
        return subprocess.run(
            ["node", os.path.join(HERE, "sdk.mjs"), fake.url, folder, world.BOT_TOKEN, world.APP_TOKEN, world.SIGNING_SECRET],
            timeout=120).returncode
    finally:
        fake.stop()


if __name__ == "__main__":
    sys.exit(main())
