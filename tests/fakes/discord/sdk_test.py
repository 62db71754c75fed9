#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Discord's own libraries against the fake. usage: sdk_test.py FOLDER (where npm may install them)
"""Without node or the packages the test is skipped, and the exit status says so."""
import os
import shutil
import subprocess
import sys

from fake_process import SKIPPED, TOKEN, FakeProcess

HERE = os.path.dirname(os.path.abspath(__file__))


def install(folder):
    """True when both packages are in `folder`."""
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(HERE, "package.json"), folder)
    if os.path.isdir(os.path.join(folder, "node_modules", "discord-interactions")):
        return True
    npm = shutil.which("npm")
    return npm is not None and subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts"], cwd=folder, timeout=180).returncode == 0


def main():
    folder = sys.argv[1]
    if shutil.which("node") is None or not install(folder):
        print("SKIPPED: node, discord.js or discord-interactions are not to be had; the fake was not held to them")
        return SKIPPED
    fake = FakeProcess()
    try:
        return subprocess.run(["node", os.path.join(HERE, "sdk.mjs"), fake.url, TOKEN, folder], timeout=280).returncode
    finally:
        fake.stop()


if __name__ == "__main__":
    sys.exit(main())
