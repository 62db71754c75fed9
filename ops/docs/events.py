#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Writes docs/events.md from the schemas, so that what integrators read cannot drift from what is sent.
"""Reads schemas/berth/*/v1/*.proto and describes every event.

An event is a message whose comment begins with its subject:

    // berth.evt.<org>.lease.lease.<fact>.<id>: created, activated
    // berth.evt.<org>.node.run.started.<machine>

    events.py            write docs/events.md
    events.py --check    exit 1 when docs/events.md is not what would be written
    events.py --print    print it
"""
import difflib
import json
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCHEMAS = "schemas/berth"
TARGET = "docs/events.md"

TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\]|\\.)*"|[A-Za-z_][\w.]*|\d+|[{}<>=;,\[\]()-]|\n', re.S)
SUBJECT = re.compile(r"^(berth\.evt\.\S*[^:\s])(?::\s*(.*))?$", re.S)
SCALARS = {
    "string", "bytes", "bool", "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64",
    "fixed32", "fixed64", "sfixed32", "sfixed64",
}
WIDE = {"int64", "uint64", "sint64", "fixed64", "sfixed64"}  # strings in JSON, which has no such integers
WELL_KNOWN = {"google.protobuf.Timestamp": "2026-01-02T03:04:05.678901Z", "google.protobuf.Duration": "900s"}
ULID = "01jg0000000000000000000000"
# Placeholder values by field name, where the type alone says nothing.
SAMPLES = {
    "org": "default", "owner": "ada", "user": "ada", "slug": "calm-otter", "profile": "default", "driver": "local",
    "lease": "ls_" + ULID, "machine": "m_" + ULID, "run": "rn_" + ULID, "origin": "remote", "failure_origin": "remote",
    "argv": "bWFrZQ==",
    "shown": "git push origin main",
}


class SchemaError(Exception):
    pass


class Field:
    def __init__(self, name, kind, label, comment, key=None):
        self.name, self.kind, self.label, self.comment, self.key = name, kind, label, comment, key


class Message:
    def __init__(self, full, comment, path):
        self.full, self.comment, self.path = full, comment, path
        self.fields = []


class Enum:
    def __init__(self, full):
        self.full, self.values = full, []


class Parser:
    """Enough of proto3 for our schemas: messages, nested ones, enums, maps, oneofs, and the comments of each."""

    def __init__(self, text, path, types):
        self.path, self.types = path, types
        self.tokens = TOKEN.findall(text)
        self.at = 0
        self.package = ""
        self.pending = []  # comment lines above the next thing

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def next(self):
        """The next token that is neither comment nor line end; comments above it are gathered."""
        blank = 0
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token == "\n":
                blank += 1
                if blank > 1:
                    self.pending = []  # a blank line parts a comment from what follows
                continue
            if token.startswith("//"):
                self.pending.append(token[2:].strip())
                blank = 0
                continue
            if token.startswith("/*"):
                blank = 0
                continue
            return token
        return None

    def expect(self, wanted):
        token = self.next()
        if token != wanted:
            raise SchemaError(f"{self.path}: '{wanted}' expected, not '{token}'")

    def take_comment(self):
        text, self.pending = " ".join(self.pending), []
        return text

    def trailing_comment(self):
        """A comment behind a field, on its line."""
        if self.peek() is not None and self.peek().startswith("//"):
            text = self.tokens[self.at][2:].strip()
            self.at += 1
            return text
        return ""

    def skip_statement(self):
        while self.next() not in (";", None):
            pass

    def parse(self):
        while True:
            token = self.next()
            if token is None:
                return
            if token == "package":
                self.package = self.next()
                self.expect(";")
                self.pending = []
            elif token == "message":
                self.message(self.package)
            elif token == "enum":
                self.enum(self.package)
            elif token in ("syntax", "import", "option"):
                self.skip_statement()
                self.pending = []
            else:
                raise SchemaError(f"{self.path}: '{token}' is not understood")

    def message(self, scope):
        comment = self.take_comment()
        message = Message(f"{scope}.{self.next()}", comment, self.path)
        self.types[message.full] = message
        self.expect("{")
        self.body(message)

    def body(self, message):
        while True:
            token = self.next()
            if token == "}":
                self.pending = []
                return
            if token == "message":
                self.message(message.full)
            elif token == "enum":
                self.enum(message.full)
            elif token == "oneof":
                self.next()
                self.expect("{")
                self.pending = []
                self.body(message)
            elif token in ("reserved", "option"):
                self.skip_statement()
                self.pending = []
            elif token is None:
                raise SchemaError(f"{self.path}: message {message.full} does not end")
            else:
                self.field(message, token)

    def field(self, message, token):
        above = self.take_comment()
        label = token if token in ("optional", "repeated") else ""
        kind = self.next() if label else token
        key = None
        if kind == "map":
            self.expect("<")
            key = self.next()
            self.expect(",")
            kind = self.next()
            self.expect(">")
        name = self.next()
        self.expect("=")
        self.next()
        while self.next() != ";":
            pass
        comment = self.trailing_comment()
        message.fields.append(Field(name, kind, label, comment or above, key))
        self.pending = []

    def enum(self, scope):
        self.pending = []
        enum = Enum(f"{scope}.{self.next()}")
        self.types[enum.full] = enum
        self.expect("{")
        while True:
            token = self.next()
            if token == "}":
                self.pending = []
                return
            if token is None:
                raise SchemaError(f"{self.path}: enum {enum.full} does not end")
            if token in ("reserved", "option"):
                self.skip_statement()
                continue
            self.expect("=")
            while self.next() != ";":
                pass
            enum.values.append(token)
            self.trailing_comment()
            self.pending = []


def resolve(types, scope, kind):
    """The type a name means inside `scope`, as protoc looks it up: innermost scope first."""
    parts = scope.split(".")
    for length in range(len(parts), -1, -1):
        full = ".".join(parts[:length] + [kind])
        if full in types:
            return types[full]
    raise SchemaError(f"{scope}: type '{kind}' is not known")


class Event:
    def __init__(self, message):
        text = message.comment
        match = SUBJECT.match(text)
        self.subject = match.group(1).rstrip(".")
        tokens = self.subject.split(".")
        if len(tokens) != 7:
            raise SchemaError(f"{message.full}: subject '{self.subject}' should have 7 tokens")
        rest = (match.group(2) or "").strip()
        self.facts = [fact.strip() for fact in rest.rstrip(".").split(",") if fact.strip()] if tokens[5] == "<fact>" else [tokens[5]]
        if not self.facts or not all(re.fullmatch(r"[a-z][a-z0-9_]*", fact) for fact in self.facts):
            raise SchemaError(f"{message.full}: '{rest}' is no list of facts")
        self.service, self.noun = tokens[3], tokens[4]
        self.message = message


def load(root):
    types, events = {}, []
    folder = os.path.join(root, SCHEMAS)
    paths = sorted(
        os.path.join(base, name) for base, _, names in os.walk(folder) for name in names if name.endswith(".proto")
    )
    for path in paths:
        with open(path, encoding="utf-8") as file:
            Parser(file.read(), os.path.relpath(path, root), types).parse()
    for full in types:
        if isinstance(types[full], Message) and SUBJECT.match(types[full].comment):
            events.append(Event(types[full]))
    if not events:
        raise SchemaError(f"no event was found below {folder}")
    events.sort(key=lambda event: (event.service, event.noun, event.message.full))
    return types, events


def type_text(types, message, field):
    name = field.kind
    if name not in SCALARS and name not in WELL_KNOWN:
        target = resolve(types, message.full, name)
        name = f"[{target.full}](#{anchor(target.full)})" if isinstance(target, Message) else f"enum {target.full}"
    if field.key:
        return f"map of {field.key} to {name}"
    return f"{field.label} {name}".strip()


def anchor(full):
    return full.lower().replace(".", "")


def enum_sample(enum, facts):
    for fact in facts:
        for value in enum.values:
            if value.endswith("_STATE_" + fact.upper()):
                return value
    for value in enum.values:
        if value.endswith("_SUCCEEDED"):
            return value
    return enum.values[min(1, len(enum.values) - 1)]


def scalar_sample(message, field):
    prefix = re.match(r"^([a-z]{1,3})_<ulid>", field.comment)
    if prefix:
        return f"{prefix.group(1)}_{ULID}"
    if field.kind == "bool":
        return False
    if field.kind in WIDE:
        return "1"
    if field.kind not in ("string", "bytes"):
        return 0
    return SAMPLES.get(field.name, "")


def sample(types, message, facts, seen=()):
    out = {}
    for field in message.fields:
        if field.kind in WELL_KNOWN:
            value = WELL_KNOWN[field.kind]
        elif field.kind in SCALARS:
            value = scalar_sample(message, field)
        else:
            target = resolve(types, message.full, field.kind)
            if isinstance(target, Enum):
                value = enum_sample(target, facts)
            elif target.full in seen:
                continue
            else:
                value = sample(types, target, facts, seen + (message.full,))
        if field.key:
            value = {"NAME": value}
        elif field.label == "repeated":
            value = [value]
        out[field.name] = value
    return out


def parts_of(types, message, found):
    """The messages an event is made of, itself first."""
    if message.full in (known.full for known in found):
        return
    found.append(message)
    for field in message.fields:
        if field.kind in SCALARS or field.kind in WELL_KNOWN:
            continue
        target = resolve(types, message.full, field.kind)
        if isinstance(target, Message):
            parts_of(types, target, found)


def enums_of(types, messages):
    found = {}
    for message in messages:
        for field in message.fields:
            if field.kind in SCALARS or field.kind in WELL_KNOWN:
                continue
            target = resolve(types, message.full, field.kind)
            if isinstance(target, Enum):
                found[target.full] = target
    return [found[name] for name in sorted(found)]


def cell(text):
    return re.sub(r"<([^<>]*)>", r"`<\1>`", text.replace("|", "\\|"))


def field_table(types, message):
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for field in message.fields:
        lines.append(f"| `{field.name}` | {type_text(types, message, field)} | {cell(field.comment)} |")
    return lines


HEAD = """# Events

<!-- Written by ops/docs/events.py from schemas/berth/*/v1/*.proto; a test compares. Do not edit. -->

Something happened, in the past tense, told to whoever listens. Every event is a message on stream `EVT` under
`berth.evt.<org>.<service>.<noun>.<fact>.<id>`, kept for seven days. The payload is the bare protobuf message. Its
headers are CloudEvents 1.0 in binary mode: `ce-specversion`, `ce-id`, `ce-type` (the message's full name), `ce-source`,
`ce-time`, `ce-subject` (what it is about, by its id: `ls_01…`), `ce-datacontenttype` (`application/protobuf`),
`ce-correlationid` (the first request of the chain), `ce-causationid` (the message that caused this one). What a node
tells has not the last two.

An event may come twice: `ce-id` is the same then. Events of one entity come in the order of `revision`, where it has
one; drop what is not above the last you saw. Fields are added, never changed or reused: ignore those you do not know.

Three ways lead to them; each has a sample that runs in the tests ([samples](samples/README.md)):

| way | what it is | how |
|---|---|---|
| the gateway | JSON as server-sent events; the `id:` of each, its `sequence`, is the `Last-Event-ID` to resume from; `--from` takes the one after it | `GET /v1/events`, `berth events tail`, `berth events replay` |
| the bus | `nats sub 'berth.evt.<org>.>'`, or a durable that keeps the reader's place | `berth events credentials --name ci`: a NATS credential for this org's events and nothing else, which ends |
| a webhook | each event is posted as a CloudEvent, signed as Standard Webhooks has it, again for a day | `berth webhooks add https://…` |

The first and the last give the protobuf message as `data` in JSON, by protobuf's JSON mapping with the fields' own
names: 64-bit integers are strings, bytes are base64, times are RFC 3339, durations are seconds with an `s`. An unset
message, and an unset `optional` field, is left out. Beside it are the same attributes, but for two: `subject` is there
the whole subject that the event has on the bus, not the id alone, and `datacontenttype` is `application/json`.
"""


def render(types, events):
    lines = [HEAD]
    lines += ["| subject | facts | message |", "|---|---|---|"]
    for event in events:
        facts = ", ".join(f"`{fact}`" for fact in event.facts)
        lines.append(f"| `{event.subject}` | {facts} | [{event.message.full}](#{anchor(event.message.full)}) |")
    lines += ["", "The whole of one, as `/v1/events` gives it:", ""]
    first = events[0]
    lines += ["```json", json.dumps(envelope(types, first), indent=2), "```", ""]
    shown = []
    for event in events:
        message = event.message
        shown.append(message)
        lines += [f"## {message.full}", ""]
        lines += [f"Subject `{event.subject}`, fact " + " or ".join(f"`{fact}`" for fact in event.facts) + f". Defined in [{message.path}](../{message.path}).", ""]
        lines += field_table(types, message)
        lines += ["", "```json", json.dumps(sample(types, message, event.facts), indent=2), "```", ""]
    parts = []
    for event in events:
        parts_of(types, event.message, parts)
    event_names = {event.message.full for event in events}
    lines += ["# What they carry", ""]
    for part in sorted((part for part in parts if part.full not in event_names), key=lambda part: part.full):
        lines += [f"## {part.full}", ""]
        if part.comment:
            lines += [cell(part.comment), ""]
        lines += field_table(types, part) + [""]
    lines += ["## Enums", "", "| enum | values |", "|---|---|"]
    for enum in enums_of(types, parts):
        lines.append(f"| {enum.full} | " + ", ".join(f"`{value}`" for value in enum.values) + " |")
    return "\n".join(lines).rstrip("\n") + "\n"


def envelope(types, event):
    data = sample(types, event.message, event.facts)
    ids = {"lease": "ls_", "machine": "m_", "run": "rn_"}
    subject = event.subject.replace("<org>", "default").replace("<fact>", event.facts[0])
    subject = re.sub(r"<[^<>]*>$", ids.get(event.noun, "") + ULID, subject)
    return {
        "specversion": "1.0", "id": ULID, "type": event.message.full, "source": "berth/" + event.service,
        "time": WELL_KNOWN["google.protobuf.Timestamp"], "correlationid": ULID, "causationid": ULID,
        "subject": subject, "sequence": "42", "datacontenttype": "application/json", "data": data,
    }


def main(arguments):
    if arguments not in ([], ["--check"], ["--print"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        text = render(*load(ROOT))
    except SchemaError as error:
        print(f"events.py: {error}", file=sys.stderr)
        return 1
    target = os.path.join(ROOT, TARGET)
    if arguments == ["--print"]:
        sys.stdout.write(text)
        return 0
    if arguments == []:
        with open(target, "w", encoding="utf-8") as file:
            file.write(text)
        return 0
    try:
        with open(target, encoding="utf-8") as file:
            there = file.read()
    except OSError:
        there = ""
    if there == text:
        return 0
    print(f"events.py: {TARGET} is not what the schemas say; run ops/docs/events.py", file=sys.stderr)
    sys.stderr.writelines(difflib.unified_diff(there.splitlines(True), text.splitlines(True), TARGET, "schemas", n=1))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
