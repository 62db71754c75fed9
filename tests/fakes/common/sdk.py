# SPDX-License-Identifier: Apache-2.0
# A platform's own libraries for node against its fake: installed by npm into the build folder, driven by sdk.mjs.
import os
import shutil
import subprocess
import sys

from common.skipping import skip

INSTALL_SECONDS = 240


def install(here, folder, last):
    """True when the packages of package.json are in `folder`; `last` is a path below node_modules that tells."""
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(here, "package.json"), folder)
    if os.path.isdir(os.path.join(folder, "node_modules", last)):
        return True
    npm = shutil.which("npm")
    return npm is not None and subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts"], cwd=folder,
        timeout=INSTALL_SECONDS).returncode == 0


def drive(here, last, start, *words, seconds):
    """sdk.mjs of the folder `here` with URL, FOLDER and `words`, against the fake that start() gives; ends the test."""
    folder = sys.argv[1]
    if shutil.which("node") is None or not install(here, folder, last):
        skip("node or what package.json names is not to be had; the fake was not held to it")
    fake = start()
    try:
        done = subprocess.run(["node", os.path.join(here, "sdk.mjs"), fake.url, folder, *words], timeout=seconds)
    finally:
        fake.stop()
    sys.exit(done.returncode)
