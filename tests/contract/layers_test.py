#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The layers of ARCHITECTURE.md, enforced: reads the include and link lines of the tree and refuses what goes up.
"""Run without arguments it checks the tree it lies in, and itself against small trees that break each rule.

    layers_test.py [--root FOLDER]     print the violations of a tree; exit 1 when there are any
    layers_test.py                     the test (unittest)
"""
import os
import re
import sys
import tempfile
import unittest

# Who may use whom: a unit uses units of lower layers only, and of its own layer only what SIBLINGS lists.
LAYERS = [
    ["schemas"],
    ["core"],
    ["log", "config", "metrics"],
    ["bus", "store", "http", "net", "process", "identity", "jose", "topology"],
    ["chat", "engine", "policy", "service"],
]
SERVICE_LAYER = len(LAYERS)  # services/* and channels/*: they know neither each other nor what is above
TOP_LAYER = SERVICE_LAYER + 1  # cli, tests, ops
SIBLINGS = {
    ("topology", "identity"),  # a deployment's credentials
    ("topology", "process"),  # its certificate by openssl
    ("policy", "service"),  # times of a plan's terms on the wire
    ("chat", "service"),  # a bridge is a service
    ("chat", "policy"),  # a command is shown as its approval shows it
}

# The one home (or two) of each third-party library: header prefixes, link words, libs that may name them.
VENDORS = [
    ("NATS", ("nats.h", "nats/"), ("nats", "BERTH_LIBNATS"), {"bus"}),
    ("libpq", ("libpq-fe.h", "libpq/", "postgresql/", "pqxx"), ("PostgreSQL::", "pq", "PkgConfig::PQ"), {"store"}),
    ("curl", ("curl/",), ("CURL::", "curl", "PkgConfig::CURL"), {"http"}),
    ("Boost.Asio", ("boost/asio",), (), {"net", "service"}),
    ("Boost", ("boost/",), ("Boost::",), {"net"}),
    ("prometheus-cpp", ("prometheus/",), ("prometheus-cpp",), {"metrics"}),
    ("libcrypto", ("openssl/",), ("OpenSSL::", "crypto"), {"jose"}),
    ("libsodium", ("sodium.h", "sodium/"), ("PkgConfig::SODIUM", "sodium", "BERTH_SODIUM_HASH"), {"identity"}),
    ("yaml-cpp", ("yaml-cpp/", "yaml.h"), ("yaml-cpp",), {"config"}),
    ("RE2", ("re2/",), ("BERTH_RE2", "re2"), {"policy"}),
]
BOOST_LINKERS = {"net", "service"}  # Boost.Asio is header-only: one target for both homes
BENCHES = "tests/bench/"  # what we add to a library's own cost is measured against the bare library

SOURCE = (".cpp", ".hpp", ".cpp.in", ".hpp.in", ".h", ".c")
COMMENTED = SOURCE + (".py", ".sh")
SKIPPED_FOLDERS = {".git", "build", "node_modules", "dist", ".berth"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
COMMAND = re.compile(r"\b(berth_lib|berth_test|berth_service|add_library|add_executable|target_link_libraries)\s*\(([^()]*)\)", re.I)
LINK_KEYWORDS = {"DEPS", "PRIVATE_DEPS"}
OTHER_KEYWORDS = {"NAME", "BINARY", "SOURCES", "LABELS", "TIMEOUT", "ENV"}


def unit_of(path):
    """(kind, name) of a file's path: ("lib", "core"), ("service", "gateway"), ("top", "cli"), ("schemas", …)."""
    parts = path.split("/")
    if parts[0] == "schemas":
        return ("schemas", "schemas")
    if parts[0] == "libs" and len(parts) > 1:
        return ("lib", parts[1])
    if parts[0] in ("services", "channels") and len(parts) > 1:
        return ("service", parts[0] + "/" + parts[1])
    if parts[0] in ("cli", "tests", "ops"):
        return ("top", parts[0])
    return None


def is_test_file(path):
    """Sources beside the code that belong to its tests; they may use tests/support as well."""
    name = os.path.basename(path)
    return path.startswith("tests/") or re.search(r"_(test|bench|fuzz)\.", name) is not None or name.startswith("test_")


def layer_of(unit):
    kind, name = unit
    if kind in ("lib", "schemas"):
        for index, names in enumerate(LAYERS):
            if name in names:
                return index
        return None
    return SERVICE_LAYER if kind == "service" else TOP_LAYER


def may_use(user, used, in_test):
    """None, or why not."""
    if user == used:
        return None
    if in_test and used == ("top", "tests"):
        return None
    for unit in (user, used):
        if layer_of(unit) is None:
            return "%s has no layer: give it one in tests/contract/layers_test.py" % unit[1]
    if user[0] == "top":
        return "only tests use tests" if used == ("top", "tests") else None
    if user[0] == "service" and used[0] == "service":
        return "services and channels meet only in schemas/"
    if layer_of(user) > layer_of(used) or (user[1], used[1]) in SIBLINGS:
        return None
    if in_test and layer_of(user) == layer_of(used):
        return None  # an HTTP client is best tested against our own server
    return "%s is not below %s" % (used[1], user[1])


class Tree:
    def __init__(self, root):
        self.root = root
        self.files = []
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS)
            for name in sorted(names):
                self.files.append(os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/"))
        self.known = set(self.files)
        self.violations = []

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
            return file.read()

    def refuse(self, path, why):
        self.violations.append("%s: %s" % (path, why))

    # --- includes -------------------------------------------------------------------------------------------
    def resolve(self, path, included):
        """The repository path of a quoted include, "schemas" for a generated header, None when unknown."""
        if included.startswith("berth/"):
            return "schemas/" + included
        for base in (os.path.dirname(path) + "/", "libs/", "services/", "channels/", "tests/", ""):
            candidate = os.path.normpath(base + included).replace(os.sep, "/")
            if candidate in self.known:
                return candidate
        return None

    def is_private(self, path):
        lines = self.read(path).split("\n", 2)
        return len(lines) > 1 and lines[1].startswith("// Private to libs/")

    def check_includes(self):
        for path in self.files:
            unit = unit_of(path)
            if unit is None or not path.endswith(SOURCE):
                continue
            public = unit[0] == "lib" and path.endswith(".hpp") and not self.is_private(path) and not is_test_file(path)
            for bracket, included in INCLUDE.findall(self.read(path)):
                vendor = self.check_vendor(path, unit, included)
                if vendor and public:
                    self.refuse(path, "a public header shows %s (<%s>)" % (vendor, included))
                if bracket == '"' and not vendor:
                    self.check_own_include(path, unit, included, public)

    def check_vendor(self, path, unit, included):
        for name, prefixes, _, homes in VENDORS:
            if any(included == p or (p.endswith(("/", "asio")) and included.startswith(p)) for p in prefixes):
                if not path.startswith(BENCHES) and (unit[0] != "lib" or unit[1] not in homes):
                    self.refuse(path, "<%s>: %s has its home in libs/%s" % (included, name, " and libs/".join(sorted(homes))))
                return name
        return None

    def check_own_include(self, path, unit, included, public):
        target = self.resolve(path, included)
        if target is None:
            self.refuse(path, '"%s" is found under no include root' % included)
            return
        used = unit_of(target)
        if used is None:
            self.refuse(path, '"%s" lies outside the layers' % included)
            return
        why = may_use(unit, used, is_test_file(path))
        if why:
            self.refuse(path, '"%s": %s' % (included, why))
        if used[0] == "lib" and target in self.known and target.endswith(".hpp") and self.is_private(target):
            # A fuzzer's subject is often a parser that no caller should see.
            if used != unit and not path.startswith("tests/fuzz/"):
                self.refuse(path, '"%s" is private to libs/%s' % (included, used[1]))
            elif public:
                self.refuse(path, 'a public header includes the private "%s"' % included)

    # --- link lines -----------------------------------------------------------------------------------------
    def commands(self):
        for path in self.files:
            unit = unit_of(path)
            if unit is None or os.path.basename(path) != "CMakeLists.txt":
                continue
            text = re.sub(r"#[^\n]*", "", self.read(path))
            for name, body in COMMAND.findall(text):
                yield path, unit, name.lower(), re.findall(r'"[^"]*"|[^\s"]+', body)

    @staticmethod
    def option(words, keyword):
        return words[words.index(keyword) + 1] if keyword in words[:-1] else ""

    def targets(self):
        """Target name -> (unit, is it a test)."""
        out = {}
        for _, unit, command, words in self.commands():
            if command == "berth_lib":
                name = self.option(words, "NAME")
                out["berth_" + name] = out["berth::" + name] = (unit, False)
            elif command == "berth_service":
                out[self.option(words, "NAME") + "_objects"] = out[self.option(words, "BINARY")] = (unit, False)
            elif command == "berth_test":
                out[self.option(words, "NAME")] = (unit, True)
            elif command in ("add_library", "add_executable") and words:
                out[words[0]] = (unit, False)
        return out

    @staticmethod
    def linked_words(command, words):
        if command == "target_link_libraries":
            return [w for w in words[1:] if w not in ("PUBLIC", "PRIVATE", "INTERFACE")]
        if command not in ("berth_lib", "berth_test", "berth_service"):
            return []
        out, taking = [], False
        for word in words:
            if word in LINK_KEYWORDS or word in OTHER_KEYWORDS:
                taking = word in LINK_KEYWORDS
            elif taking:
                out.append(word)
        return out

    def check_links(self):
        targets = self.targets()
        for path, unit, command, words in self.commands():
            in_test = command == "berth_test" or unit == ("top", "tests")
            if command == "target_link_libraries" and words and targets.get(words[0], (unit, False))[1]:
                in_test = True
            for word in self.linked_words(command, words):
                self.check_linked_vendor(path, unit, word.strip('"'))
                if word in targets:
                    why = may_use(unit, targets[word][0], in_test)
                    if why:
                        self.refuse(path, "links %s: %s" % (word, why))

    def check_linked_vendor(self, path, unit, word):
        bare = re.sub(r"^\$\{(\w+)\}$", r"\1", word)
        for name, _, links, homes in VENDORS:
            homes = BOOST_LINKERS if name == "Boost" else homes
            if any(bare == link or (len(link) > 4 and bare.startswith(link)) for link in links):
                if not path.startswith(BENCHES) and (unit[0] != "lib" or unit[1] not in homes):
                    self.refuse(path, "links %s: %s has its home in libs/%s" % (word, name, " and libs/".join(sorted(homes))))

    # --- first lines ----------------------------------------------------------------------------------------
    def check_first_lines(self):
        for path in self.files:
            if not path.endswith(COMMENTED) or "/testdata/" in path:
                continue
            mark = "# " if path.endswith((".py", ".sh")) else "// "
            lines = self.read(path).split("\n")
            if lines[0].startswith("#!"):
                lines = lines[1:]
            if not lines or lines[0] != mark + "SPDX-License-Identifier: Apache-2.0":
                self.refuse(path, "the first line is not the SPDX line")
            elif len(lines) < 2 or not re.match(re.escape(mark) + r"\S.{8,}", lines[1]):
                self.refuse(path, "the second line does not say why the file exists")


def check(root):
    tree = Tree(root)
    tree.check_includes()
    tree.check_links()
    tree.check_first_lines()
    return tree.violations


# --- the test ---------------------------------------------------------------------------------------------------
HEAD = "// SPDX-License-Identifier: Apache-2.0\n// A file of the small tree of this test.\n"
PRIVATE_HEAD = "// SPDX-License-Identifier: Apache-2.0\n// Private to libs/bus: what no other folder sees.\n"

# A small tree that keeps every rule; each case below breaks one of them.
GOOD = {
    "schemas/berth/lease/v1/lease.proto": HEAD,
    "libs/core/a.hpp": HEAD,
    "libs/core/CMakeLists.txt": "berth_lib(NAME core SOURCES a.cpp)\n",
    "libs/log/log.hpp": HEAD + '#include "core/a.hpp"\n',
    "libs/log/CMakeLists.txt": "berth_lib(NAME log SOURCES log.cpp DEPS berth::core)\n",
    "libs/identity/key.hpp": HEAD + '#include "core/a.hpp"\n',
    "libs/identity/key.cpp": HEAD + "#include <sodium.h>\n",
    "libs/identity/CMakeLists.txt": "berth_lib(NAME identity SOURCES key.cpp DEPS berth::core PRIVATE_DEPS PkgConfig::SODIUM)\n",
    "libs/identity/key_test.cpp": HEAD + '#include "bus/connection.hpp"\n',
    "libs/topology/t.cpp": HEAD + '#include "identity/key.hpp"\n',
    "libs/topology/CMakeLists.txt": "add_library(berth_topology STATIC t.cpp)\nadd_library(berth::topology ALIAS berth_topology)\n"
                                    "target_link_libraries(berth_topology PUBLIC berth::core berth::identity)\n",
    "libs/bus/connection.hpp": HEAD + '#include "core/a.hpp"\n',
    "libs/bus/inner.hpp": PRIVATE_HEAD + "#include <nats/nats.h>\n",
    "libs/bus/connection.cpp": HEAD + '#include "bus/inner.hpp"\n#include "bus/connection.hpp"\n#include <vector>\n',
    "libs/bus/bus_test.cpp": HEAD + '#include "support/nats/server.hpp"\n#include "bus/inner.hpp"\n',
    "libs/bus/CMakeLists.txt": "berth_lib(NAME bus SOURCES connection.cpp DEPS berth::core PRIVATE_DEPS ${BERTH_LIBNATS})\n"
                               "berth_test(NAME bus_test SOURCES bus_test.cpp DEPS berth::bus berth_test_nats)\n",
    "libs/service/run.cpp": HEAD + '#include "bus/connection.hpp"\n#include <boost/asio/signal_set.hpp>\n',
    "libs/service/CMakeLists.txt": "berth_lib(NAME service SOURCES run.cpp DEPS berth::bus PRIVATE_DEPS Boost::headers)\n",
    "services/gateway/app.hpp": HEAD,
    "services/gateway/app.cpp": HEAD + '#include "gateway/app.hpp"\n#include "berth/lease/v1/lease.pb.h"\n',
    "services/gateway/CMakeLists.txt": "berth_service(NAME gateway BINARY berth-gateway SOURCES app.cpp DEPS berth::service)\n",
    "services/lease_broker/lease.hpp": HEAD,
    "services/lease_broker/CMakeLists.txt": "berth_service(NAME lease_broker BINARY berth-lease SOURCES a.cpp DEPS berth::service)\n",
    "channels/slack/slack.hpp": HEAD,
    "cli/paths.hpp": HEAD,
    "cli/main.cpp": HEAD + '#include "cli/paths.hpp"\n#include "topology/../bus/connection.hpp"\n',
    "cli/CMakeLists.txt": "add_executable(berth main.cpp)\ntarget_link_libraries(berth PRIVATE berth::bus berth::topology)\n",
    "tests/bench/b.cpp": HEAD + "#include <nats/nats.h>\n",
    "tests/support/nats/server.hpp": HEAD,
    "tests/support/nats/CMakeLists.txt": "add_library(berth_test_nats STATIC s.cpp)\n",
}

# Name of the case: files that are laid over GOOD, and a word of the violation they must give.
BAD = {
    "core uses log": ({"libs/core/b.cpp": HEAD + '#include "log/log.hpp"\n'}, "log is not below core"),
    "a test goes up": ({"libs/core/b_test.cpp": HEAD + '#include "log/log.hpp"\n'}, "log is not below core"),
    "a test links up": ({"libs/log/CMakeLists.txt": "berth_test(NAME log_test SOURCES t.cpp DEPS berth::bus)\n"}, "links berth::bus"),
    "a service's test knows a service": ({"services/gateway/b_test.cpp": HEAD + '#include "lease_broker/lease.hpp"\n'}, "meet only in schemas"),
    "schemas are below all": ({"schemas/x.cpp": HEAD + '#include "core/a.hpp"\n'}, "core is not below schemas"),
    "a sibling of one layer": ({"libs/identity/b.cpp": HEAD + '#include "bus/connection.hpp"\n'}, "bus is not below identity"),
    "the sibling edge backwards": ({"libs/topology/t.hpp": HEAD, "libs/identity/b.cpp": HEAD + '#include "topology/t.hpp"\n'},
                                   "topology is not below identity"),
    "a lib knows a service": ({"libs/service/b.cpp": HEAD + '#include "gateway/app.hpp"\n'}, "services/gateway is not below service"),
    "a lib without a layer": ({"libs/extra/b.hpp": HEAD, "libs/extra/b.cpp": HEAD + '#include "core/a.hpp"\n'}, "extra has no layer"),
    "a service knows a service": ({"services/gateway/b.cpp": HEAD + '#include "lease_broker/lease.hpp"\n'}, "meet only in schemas"),
    "by a relative path": ({"services/gateway/b.cpp": HEAD + '#include "../lease_broker/lease.hpp"\n'}, "meet only in schemas"),
    "a service knows a channel": ({"services/gateway/b.cpp": HEAD + '#include "slack/slack.hpp"\n'}, "meet only in schemas"),
    "a channel knows a service": ({"channels/slack/b.cpp": HEAD + '#include "gateway/app.hpp"\n'}, "meet only in schemas"),
    "a service knows the cli": ({"services/gateway/b.cpp": HEAD + '#include "cli/paths.hpp"\n'}, "cli is not below"),
    "product code knows test support": ({"libs/bus/b.cpp": HEAD + '#include "support/nats/server.hpp"\n'}, "tests is not below bus"),
    "the cli knows test support": ({"cli/b.cpp": HEAD + '#include "support/nats/server.hpp"\n'}, "only tests use tests"),
    "an include nobody has": ({"cli/b.cpp": HEAD + '#include "cli/gone.hpp"\n'}, "found under no include root"),
    "nats away from home": ({"services/gateway/b.cpp": HEAD + "#include <nats/nats.h>\n"}, "libs/bus"),
    "nats in quotes": ({"services/gateway/b.cpp": HEAD + '# include "nats.h"\n'}, "libs/bus"),
    "libpq away from home": ({"services/gateway/b.cpp": HEAD + "#include <libpq-fe.h>\n"}, "libs/store"),
    "curl away from home": ({"cli/b.cpp": HEAD + "#include <curl/curl.h>\n"}, "libs/http"),
    "beast away from home": ({"libs/service/b.cpp": HEAD + "#include <boost/beast/http.hpp>\n"}, "libs/net"),
    "asio away from home": ({"libs/bus/b.cpp": HEAD + "#include <boost/asio.hpp>\n"}, "libs/net and libs/service"),
    "prometheus away from home": ({"libs/service/b.cpp": HEAD + "#include <prometheus/registry.h>\n"}, "libs/metrics"),
    "sodium away from home": ({"tests/b.cpp": HEAD + "#include <sodium.h>\n"}, "libs/identity"),
    "yaml-cpp away from home": ({"libs/topology/b.cpp": HEAD + "#include <yaml-cpp/yaml.h>\n"}, "libs/config"),
    "re2 away from home": ({"libs/service/b.cpp": HEAD + "#include <re2/re2.h>\n"}, "libs/policy"),
    "a vendor in a public header": ({"libs/bus/b.hpp": HEAD + "#include <nats/nats.h>\n"}, "a public header shows NATS"),
    "a private header abroad": ({"libs/service/b.cpp": HEAD + '#include "bus/inner.hpp"\n'}, "is private to libs/bus"),
    "a private header leaks": ({"libs/bus/b.hpp": HEAD + '#include "bus/inner.hpp"\n'}, "includes the private"),
    "a lib links upwards": ({"libs/log/CMakeLists.txt": "berth_lib(NAME log SOURCES log.cpp PRIVATE_DEPS berth::bus)\n"}, "links berth::bus"),
    "a service links a service": ({"services/gateway/CMakeLists.txt":
                                   "berth_service(NAME gateway BINARY berth-gateway\n  DEPS lease_broker_objects)\n"}, "meet only in schemas"),
    "it links it afterwards": ({"services/gateway/CMakeLists.txt":
                                "target_link_libraries(gateway_objects PRIVATE lease_broker_objects)\n"}, "meet only in schemas"),
    "product links test support": ({"cli/CMakeLists.txt": "target_link_libraries(berth PRIVATE berth_test_nats)\n"}, "only tests use tests"),
    "a vendor linked abroad": ({"cli/CMakeLists.txt": "target_link_libraries(berth PRIVATE yaml-cpp)\n"}, "libs/config"),
    "a vendor's variable abroad": ({"cli/CMakeLists.txt": "target_link_libraries(berth PRIVATE ${BERTH_LIBNATS})\n"}, "libs/bus"),
    "a vendor's target abroad": ({"cli/CMakeLists.txt": "target_link_libraries(berth PRIVATE PostgreSQL::PostgreSQL)\n"}, "libs/store"),
    "no licence": ({"cli/b.cpp": "// A file.\n"}, "SPDX"),
    "no purpose": ({"cli/b.cpp": "// SPDX-License-Identifier: Apache-2.0\n#include <vector>\n"}, "why the file exists"),
    "a script without licence": ({"ops/b.sh": "#!/bin/sh\necho\n"}, "SPDX"),
}


def lay(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)


class Layers(unittest.TestCase):
    def test_the_tree_keeps_its_layers(self):
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self.assertGreater(len(Tree(root).files), 100, "this is not the tree")
        self.assertEqual([], check(root), "\n" + "\n".join(check(root)))

    def test_a_tree_that_keeps_every_rule_passes(self):
        with tempfile.TemporaryDirectory() as root:
            lay(root, GOOD)
            self.assertEqual([], check(root))

    def test_each_broken_rule_is_caught(self):
        for name, (files, expected) in BAD.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as root:
                lay(root, {**GOOD, **files})
                found = check(root)
                self.assertTrue(any(expected in line for line in found), "expected %r among %r" % (expected, found))
                # Nothing but the broken file is blamed.
                self.assertEqual([], [line for line in found if line.split(":")[0] not in files])


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--root":
        found_in_tree = check(sys.argv[2])
        print("\n".join(found_in_tree))
        sys.exit(1 if found_in_tree else 0)
    unittest.main()
