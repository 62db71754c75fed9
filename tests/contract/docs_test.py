#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# What the documents say exists: links, anchors, paths, commands, exit codes, streams, and docs/events.md as generated.
"""Run without arguments it checks the tree it lies in, and its own checks against small trees that are wrong.

    docs_test.py [--root FOLDER]     print what is wrong in a tree; exit 1 when there is anything
    docs_test.py                     the test (unittest)
"""
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SKIPPED_FOLDERS = {".git", "build", "node_modules", "dist", ".berth"}
# A path in backticks that begins with one of these must exist; {a,b}, <x>, * and … make it a pattern, not a path.
PATH_HEADS = ("services/", "libs/", "schemas/", "cli/", "docs/", "ops/", "deploy/", "tests/", "channels/", "cmake/", "./run", "./test")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.S | re.M)
LINK = re.compile(r"(?<!\!)\[[^\]\n]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
IMAGE = re.compile(r"!\[[^\]\n]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
# Sections that speak of what is not there yet.
FUTURE = re.compile(r"^#+ [^\n]*\b(coming|not yet)\b[^\n]*\n.*?(?=^#|\Z)", re.S | re.M | re.I)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def documents(root):
    for base, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        for name in sorted(names):
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(base, name), root)


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#{1,6}\s+(.*?)\s*#*\s*$", FENCE.sub("", text), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number, name = 0, slug
        while name in found:
            number += 1
            name = f"{slug}-{number}"
        found.add(name)
    return found


def bad_links(root, document):
    text = FENCE.sub("", read(os.path.join(root, document)))
    text = CODE.sub("", text)
    for target in LINK.findall(text) + IMAGE.findall(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", target, re.I):
            continue  # another site
        path, _, fragment = target.partition("#")
        full = os.path.normpath(os.path.join(root, os.path.dirname(document), path)) if path else os.path.join(root, document)
        if not os.path.exists(full):
            yield f"{document}: link to '{target}', which is not there"
        elif fragment and full.endswith(".md") and fragment not in anchors(read(full)):
            yield f"{document}: link to '{target}', where no heading is called so"


def bad_paths(root, document):
    text = FENCE.sub("", FUTURE.sub("", read(os.path.join(root, document))))
    for code in CODE.findall(text):
        word = code.split()[0].rstrip(",;:")
        if not word.startswith(PATH_HEADS) or re.search(r"[{}<>*…]|NNNN|\.\.\.", word):
            continue
        if not os.path.exists(os.path.join(root, re.sub(r":\d+$", "", word))):
            yield f"{document}: path '{word}', which is not there"


def bad_services(root, document="README.md"):
    """Every service has a README, and the first page names it."""
    page = read(os.path.join(root, document))
    for base in ("services", "channels"):
        folder = os.path.join(root, base)
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if not os.path.exists(os.path.join(folder, name, "CMakeLists.txt")):
                continue
            if not os.path.exists(os.path.join(folder, name, "README.md")):
                yield f"{base}/{name} has no README.md"
            if f"{base}/{name}" not in page:
                yield f"{document} does not name {base}/{name}"


def bad_commands(root, document="README.md"):
    """`berth x` is a command that docs/cli.md knows."""
    known = set(re.findall(r"^## berth ([a-z-]+)$", read(os.path.join(root, "docs/cli.md")), re.M))
    text = FUTURE.sub("", read(os.path.join(root, document)))
    used = re.findall(r"`berth ([a-z][a-z-]*)", text) + re.findall(r"^(?:\$ )?berth ([a-z][a-z-]*)", text, re.M)
    for name in sorted(set(used) - known):
        yield f"{document}: command 'berth {name}', which docs/cli.md does not know"


def bad_exit_codes(root, document="README.md"):
    """The table of exit codes is that of cli/exit_codes.hpp, code by code."""
    source = read(os.path.join(root, "cli/exit_codes.hpp"))
    wanted = {int(number) for number in re.findall(r"kExit\w+ = (\d+);", source)} - {2}  # 2 is of the other commands
    told = {int(number) for number in re.findall(r"^\| (\d{3}) \|", read(os.path.join(root, document)), re.M)}
    for number in sorted(wanted - told):
        yield f"{document}: exit code {number} is not in the table"
    for number in sorted(n for n in told - wanted if 120 <= n <= 126):
        yield f"{document}: exit code {number}, which cli/exit_codes.hpp does not know"


def bad_verbs(root, document="docs/chat.md"):
    """The table of what can be said in a chat is libs/chat's, word for word and in its order."""
    table = re.findall(r'\{"([a-z]+)",\s*"([^"]*)",\s*"([^"]*)",\s*Needs::', read(os.path.join(root, "libs/chat/commands.cpp")))
    wanted = ["| `%s` | %s |" % (" ".join(filter(None, (name, usage))), summary) for name, usage, summary in table]
    told = re.search(r"^\| command \| what \|\n\|---\|---\|\n((?:\|.*\n)*)", read(os.path.join(root, document)), re.M)
    told = told.group(1).splitlines() if told else []
    for line in wanted:
        if line not in told:
            yield f"{document} does not have the row: {line}"
    for line in told:
        if line not in wanted:
            yield f"{document}: libs/chat/commands.cpp does not know the row: {line}"
    if not wanted or (set(told) == set(wanted) and told != wanted):
        yield f"{document}: not in the order of libs/chat/commands.cpp"


def bad_drivers(root):
    """A profile may name each driver that has a folder, and no other."""
    listed = re.search(r"kDrivers\{(.*?)\};", read(os.path.join(root, "services/lease_broker/settings.cpp")), re.S)
    known = set(re.findall(r'"([a-z]+)"', listed.group(1))) if listed else set()
    folder = os.path.join(root, "services/provisioner/drivers")
    there = {name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name))}
    for name in sorted(there ^ known):
        yield f"driver {name} is not both a folder of services/provisioner/drivers and in services/lease_broker/settings.cpp"


def bad_streams(root, document="ARCHITECTURE.md"):
    """Every stream is in the table of streams."""
    page = read(os.path.join(root, document))
    for name in re.findall(r"^  ([A-Z][A-Z_]*):$", read(os.path.join(root, "schemas/topology/streams.yaml")), re.M):
        if not re.search(rf"`{name}`", page):
            yield f"{document} does not name stream {name}"


def problems(root):
    found = []
    for document in documents(root):
        found += bad_links(root, document)
        found += bad_paths(root, document)
    for check in (bad_services, bad_commands, bad_exit_codes, bad_streams, bad_verbs, bad_drivers):
        found += check(root)
    return found


def load_events():
    spec = importlib.util.spec_from_file_location("events", os.path.join(ROOT, "ops/docs/events.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Tree:
    """Files in a folder that goes with the test."""

    def __init__(self, files):
        self.folder = tempfile.TemporaryDirectory()
        for path, text in files.items():
            full = os.path.join(self.folder.name, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)

    def __enter__(self):
        return self.folder.name

    def __exit__(self, *unused):
        self.folder.cleanup()


class Documents(unittest.TestCase):
    def test_this_tree_has_nothing_wrong(self):
        self.assertEqual(problems(ROOT), [])

    def test_events_are_as_generated(self):
        done = subprocess.run([sys.executable, os.path.join(ROOT, "ops/docs/events.py"), "--check"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)


class Checks(unittest.TestCase):
    def test_links(self):
        files = {
            "a.md": "# One\n[b](sub/b.md) [here](#one) [there](sub/b.md#two-words) [site](https://x.y/z)\n`[code](no.md)`\n",
            "sub/b.md": "## Two `words`\n[a](../a.md)\n```\n[fenced](no.md)\n```\n",
        }
        with Tree(files) as root:
            self.assertEqual([p for d in documents(root) for p in bad_links(root, d)], [])
        files["sub/b.md"] = "[a](a.md) [x](../a.md#three)\n"
        with Tree(files) as root:
            found = [p for d in documents(root) for p in bad_links(root, d)]
            self.assertEqual(len(found), 3, found)

    def test_paths(self):
        with Tree({"README.md": "`libs/core` `libs/gone/x.hpp` `libs/{a,b}`\n## What is coming\n`services/later`\n", "libs/core/x": ""}) as root:
            self.assertEqual(list(bad_paths(root, "README.md")), ["README.md: path 'libs/gone/x.hpp', which is not there"])

    def test_drivers(self):
        settings = "services/lease_broker/settings.cpp"
        files = {settings: 'kDrivers{\n    "aws", "local"};', "services/provisioner/drivers/aws/x": "", "services/provisioner/drivers/local/x": ""}
        with Tree(files) as root:
            self.assertEqual(list(bad_drivers(root)), [])
        files[settings] = 'kDrivers{"aws", "zz"};'
        with Tree(files) as root:
            self.assertEqual(len(list(bad_drivers(root))), 2)

    def test_services(self):
        with Tree({"README.md": "services/one", "services/one/CMakeLists.txt": "", "services/two/CMakeLists.txt": "", "services/two/README.md": ""}) as root:
            self.assertEqual(len(list(bad_services(root))), 2)

    def test_commands(self):
        with Tree({"README.md": "`berth run -- x`\n```\nberth fly\n```\n## Coming\n`berth swim`\n", "docs/cli.md": "## berth run\n"}) as root:
            self.assertEqual(list(bad_commands(root)), ["README.md: command 'berth fly', which docs/cli.md does not know"])

    def test_exit_codes(self):
        header = "constexpr int kExitUsage = 2;\nconstexpr int kExitA = 120;\nconstexpr int kExitB = 121;\n"
        with Tree({"README.md": "| 120 | x |\n| 126 | y |\n", "cli/exit_codes.hpp": header}) as root:
            self.assertEqual(len(list(bad_exit_codes(root))), 2)

    def test_verbs(self):
        code = '{{{"run", "COMMAND...", "runs it", Needs::kOperator, say_run},\n {"help",\n "", "these",\n Needs::kNobody, say_help}}};'
        table = "| command | what |\n|---|---|\n%s\n"
        good = ["| `run COMMAND...` | runs it |", "| `help` | these |"]
        for rows, problems in ((good, 0), (good[:1], 1), (good[::-1], 1), (good + ["| `fly` | away |"], 1),
                               (["| `run` | runs it |", good[1]], 2)):
            with Tree({"libs/chat/commands.cpp": code, "docs/chat.md": table % "\n".join(rows)}) as root:
                self.assertEqual(len(list(bad_verbs(root))), problems, rows)

    def test_streams(self):
        with Tree({"ARCHITECTURE.md": "`EVT`", "schemas/topology/streams.yaml": "streams:\n  EVT:\n  OUT:\n"}) as root:
            self.assertEqual(list(bad_streams(root)), ["ARCHITECTURE.md does not name stream OUT"])


class Events(unittest.TestCase):
    PROTO = """syntax = "proto3";
package berth.x.v1;
import "google/protobuf/timestamp.proto";
enum XState { X_STATE_UNSPECIFIED = 0; X_STATE_NEW = 1; X_STATE_GONE = 2; }  // trailing
// Not of what follows.

// berth.evt.<org>.x.thing.<fact>.<id>: gone,
// made
message Changed {
  Inner inner = 1;
  message Inner {
    string id = 1;  // th_<ulid>
    XState state = 2;
    map<string, bytes> env = 3;  // by name
    // above
    repeated uint64 sizes = 4;
    google.protobuf.Timestamp at = 5;
  }
}
"""

    def test_a_schema_becomes_a_description(self):
        events = load_events()
        with Tree({"schemas/berth/x/v1/x.proto": self.PROTO}) as root:
            types, found = events.load(root)
            text = events.render(types, found)
        self.assertEqual([(e.subject, e.facts) for e in found], [("berth.evt.<org>.x.thing.<fact>.<id>", ["gone", "made"])])
        inner = events.sample(types, found[0].message, found[0].facts)["inner"]
        self.assertEqual(inner["state"], "X_STATE_GONE")
        self.assertEqual(inner["sizes"], ["1"])
        self.assertTrue(inner["id"].startswith("th_"))
        self.assertEqual(set(inner["env"]), {"NAME"})
        self.assertIn("| `sizes` | repeated uint64 | above |", text)
        self.assertIn("| `env` | map of string to bytes | by name |", text)

    def test_what_is_no_event_subject_is_refused(self):
        events = load_events()
        for wrong in ("berth.evt.<org>.x.thing.<id>: gone", "berth.evt.<org>.x.thing.<fact>.<id>"):
            proto = self.PROTO.replace("berth.evt.<org>.x.thing.<fact>.<id>: gone,\n// made", wrong)
            with Tree({"schemas/berth/x/v1/x.proto": proto}) as root:
                with self.assertRaises(events.SchemaError):
                    events.load(root)

    def test_an_unknown_type_is_refused(self):
        events = load_events()
        with Tree({"schemas/berth/x/v1/x.proto": self.PROTO.replace("XState state", "YState state")}) as root:
            types, found = events.load(root)
            with self.assertRaises(events.SchemaError):
                events.render(types, found)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--root":
        wrong = problems(sys.argv[2])
        print("\n".join(wrong))
        sys.exit(1 if wrong else 0)
    unittest.main()
