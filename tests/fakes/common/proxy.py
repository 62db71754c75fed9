# SPDX-License-Identifier: Apache-2.0
# usage: proxy.py UPSTREAM. Started by a test's FakeServer where BERTH_FAKE_PROXY names it: Stoplight's prism, which
# holds what goes through it to a description, between the test's client and the fake at UPSTREAM.
"""Prints its port as the first line. What it found wrong goes to the file BERTH_PROXY_LOG."""
import json
import os
import socket
import subprocess
import sys
import time

START_SECONDS = 110  # node reads a large description, and not alone on the machine


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def main():
    port = free_port()
    with open(os.environ["BERTH_PROXY_LOG"], "a", encoding="utf-8") as log:
        prism = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "node", os.environ["BERTH_PRISM"], "proxy", "--port", str(port),
             "--validate-request=" + os.environ["BERTH_PROXY_ASKED"], os.environ["BERTH_PROXY_SPEC"], sys.argv[1]],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "0"})
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if prism.poll() is not None or time.monotonic() > until:
                    sys.exit("prism did not start")
                time.sleep(0.05)  # it tells nobody when it listens
        print(json.dumps({"port": port}), flush=True)
        sys.stdin.read()  # until the test ends
    finally:
        prism.kill()


if __name__ == "__main__":
    main()
