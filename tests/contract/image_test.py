#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# What deploy/Dockerfile copies is enough to configure the product: nothing of tests/ is needed.
import os
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def copied():
    """(source, target) of each COPY into the build stage's source folder."""
    with open(os.path.join(ROOT, "deploy/Dockerfile"), encoding="utf-8") as file:
        for line in file:
            if found := re.match(r"COPY (?!--)(.+) (/src/\S*)$", line.strip()):
                for source in found.group(1).split():
                    yield source, found.group(2)


class Image(unittest.TestCase):
    def test_configures_from_what_is_copied(self):
        with tempfile.TemporaryDirectory() as folder:
            count = 0
            for source, target in copied():
                there = folder + target
                path = os.path.join(ROOT, source)
                if os.path.isdir(path):
                    shutil.copytree(path, there, dirs_exist_ok=True)
                else:
                    if target.endswith("/"):
                        there += os.path.basename(source)
                    os.makedirs(os.path.dirname(there), exist_ok=True)
                    shutil.copy2(path, there)
                count += 1
            self.assertGreater(count, 5)
            done = subprocess.run(
                ["cmake", "-S", folder + "/src", "-B", folder + "/build", "-G", "Ninja", "-DBERTH_TESTS=OFF"],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-4000:])


if __name__ == "__main__":
    unittest.main()
