#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# An alert on a metric that nobody exports never fires: each name in the rules is one in the sources.
import os
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RULES = os.path.join(ROOT, "deploy/prometheus/rules.yml")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def promtool(folder):
    """Its path; of Debian's package, which is unpacked and not installed: it would start a server at the next boot."""
    installed = shutil.which("promtool")
    if installed:
        return installed
    got = subprocess.run(
        ["apt-get", "download", "-qq", "prometheus"], cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )
    packages = [name for name in os.listdir(folder) if name.endswith(".deb")]
    if got.returncode or not packages:
        raise unittest.SkipTest("promtool is not installed and cannot be had: " + got.stderr.strip()[:300])
    subprocess.run(["dpkg", "-x", packages[0], folder], cwd=folder, timeout=50, check=True)
    return os.path.join(folder, "usr/bin/promtool")


class Alerts(unittest.TestCase):
    def test_each_metric_and_label_value_is_exported(self):
        expressions = re.findall(r"^\s*expr: (.+)$", read(RULES), re.M)
        self.assertGreaterEqual(len(expressions), 6)
        sources = ""
        for folder, _, names in os.walk(os.path.join(ROOT, "services")):
            for name in names:
                if name.endswith(".cpp") and not name.endswith("_test.cpp"):
                    sources += read(os.path.join(folder, name))
        for expression in expressions:
            metrics = re.findall(r"berth_[a-z_]+", expression)
            self.assertTrue(metrics, expression)
            for metric in metrics:
                self.assertIn('"%s"' % metric, sources, expression)
            for value in re.findall(r'kind="([a-z]+)"', expression):
                self.assertRegex(sources, r'\{DriftKind::\w+, "%s"\}' % value)

    def test_prometheus_loads_them(self):
        config = read(os.path.join(ROOT, "deploy/prometheus/prometheus.yml"))
        self.assertRegex(config, r"rule_files: \[rules.yml\]")
        self.assertIn("deploy/prometheus/rules.yml", read(os.path.join(ROOT, "deploy/Dockerfile")))

    def test_promtool_accepts_them(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)  # apt downloads as a user of its own
            tool = promtool(folder)
            for arguments in (
                ["check", "rules", RULES],
                ["check", "config", os.path.join(ROOT, "deploy/prometheus/prometheus.yml")],
            ):
                done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
