# SPDX-License-Identifier: Apache-2.0
# A test that cannot run says so aloud.
import importlib.util
import sys

SKIPPED = 77  # what ctest counts as skipped


def skip(why):
    print("SKIPPED: " + why, file=sys.stderr)
    sys.exit(SKIPPED)


def need(*modules):
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        skip("Python's %s is not installed" % ", ".join(missing))
