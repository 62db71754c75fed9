#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A platform's own test program with an implementation of OpenAPI that nobody here wrote between it and the fake.
# usage: proxied_test.py [--answers] [--prefix=PATH] FOLDER SPEC PROGRAM [ARGUMENT...]
"""FOLDER: where npm may install the proxy; --prefix: of the fake's paths before those of the description; --answers: the
description is too old for requests. Fails where the program does, where nothing went through, and for each thing that
client or fake did otherwise than described."""
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from common.openapi import SPECS  # noqa: E402
from common.sdk import install  # noqa: E402
from common.skipping import skip  # noqa: E402

SEEN = re.compile(r"\[HTTP SERVER\] (\w+) (\S+) .*Request received")
# What Slack's own pages say since its description of 2020: methods that are younger, an app's id in its messages, and
# blocks that are a list, as everywhere else in it.
OUTDATED = {"slack-web-reduced.json": {
    "request Selected route not found",
    "response.body.message Response body property message must NOT have additional properties; found 'app_id'",
    "response.body.message.blocks Response body property message.blocks must be object"}}
WRONG = re.compile(r"Violation: (.*)")


def described(spec, prefix, folder):
    """The description with the fake's paths and no servers, as a file."""
    with open(os.path.join(SPECS, spec), encoding="utf-8") as file:
        document = json.load(file)
    document["paths"] = {prefix + path: item for path, item in document["paths"].items()}
    for item in document["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict) and "responses" in operation:
                # OpenAPI spells a range 4XX; not every description does.
                operation["responses"] = {code.replace("xx", "XX"): answer
                                          for code, answer in operation["responses"].items()}
    document.pop("servers", None)
    document.pop("basePath", None)
    name = os.path.join(folder, "described-" + spec)
    with open(name, "w", encoding="utf-8") as file:
        json.dump(document, file)
    return name


def main():
    words, answers, prefix = sys.argv[1:], False, ""
    while words[0].startswith("--"):
        word = words.pop(0)
        answers = answers or word == "--answers"
        prefix = word.partition("=")[2] or prefix
    folder, spec, *command = words
    if shutil.which("node") is None or not install(HERE, folder, "@stoplight/prism-cli/dist"):
        skip("node or prism is not to be had; client and fake were not held to the description by others")
    log = os.path.join(folder, "proxy-" + os.path.basename(command[0]) + ".log")
    open(log, "w", encoding="utf-8").close()
    done = subprocess.run(command, env={
        **os.environ,
        "BERTH_FAKE_PROXY": "common/proxy.py",
        "BERTH_PRISM": os.path.join(folder, "node_modules/@stoplight/prism-cli/dist/index.js"),
        "BERTH_PROXY_SPEC": described(spec, prefix, folder),
        "BERTH_PROXY_ASKED": "false" if answers else "true",
        "BERTH_PROXY_LOG": log})
    with open(log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    wrong = sorted(set(WRONG.findall(text)) - OUTDATED.get(spec, set()))
    print("%d requests went through" % len(SEEN.findall(text)))
    for each in wrong:
        print("otherwise than described: " + each)
    sys.exit(done.returncode or (1 if wrong or not SEEN.search(text) else 0))


if __name__ == "__main__":
    main()
