# SPDX-License-Identifier: Apache-2.0
# Holds requests and answers to the provider's own description (OpenAPI 3.0), so that the fake cannot be laxer than it.
"""Only the keywords that hcloud-reduced.json uses; an unknown one is an error, not a silent pass."""
import re
from datetime import datetime

from common.openapi import OpenApi

KNOWN = {
    "type", "properties", "required", "items", "additionalProperties", "allOf", "$ref", "enum", "pattern", "maximum",
    "maxLength", "maxItems", "nullable", "format", "description", "example", "title", "default", "deprecated",
}
TYPES = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}
# The description's types say "string" where its words say "ID or name": the words are what the service does.
ID_OR_NAME = re.compile(r"(SSH key )?IDs? (\(`integer`\) )?or names?\b")

# What the provider's own CLI sends although the description does not name it, and is not refused for.
SENT_BY_THE_CLI = {
    "get_multiple_actions": {"page": {"type": "integer"}},
    "list_server_types": {"sort": {"type": "string", "enum": ["id:asc"]}},
}


class Description(OpenApi):
    def problems(self, schema, value, where):
        return self.check(schema, value, where)

    def resolve(self, schema):
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def check(self, schema, value, where, words=""):
        """What is wrong with `value`, as a list of sentences. Members the description does not name are wrong."""
        schema = self.resolve(schema)
        unknown = set(schema) - KNOWN
        if unknown:
            raise ValueError("keyword %s at %s is not understood" % (sorted(unknown), where))
        if value is None:
            return [] if schema.get("nullable") else [where + " must not be null"]
        problems = []
        for part in schema.get("allOf", []):
            problems += self.check(part, value, where)
        kind = schema.get("type")
        words = schema.get("description", words)
        if kind and not TYPES[kind](value):
            if kind == "string" and TYPES["integer"](value) and ID_OR_NAME.match(words):
                return problems
            return problems + ["%s must be of type %s" % (where, kind)]
        return problems + self.check_limits(schema, value, where) + self.check_parts(schema, value, where, words)

    @staticmethod
    def check_limits(schema, value, where):
        problems = []
        if "enum" in schema and value not in schema["enum"]:
            problems.append("%s must be one of %s" % (where, schema["enum"]))
        if "pattern" in schema and ("\n" in value or not re.search(schema["pattern"], value)):
            problems.append("%s does not match %s" % (where, schema["pattern"]))
        if "maximum" in schema and value > schema["maximum"]:
            problems.append("%s is above %d" % (where, schema["maximum"]))
        if "maxLength" in schema and len(value) > schema["maxLength"]:
            problems.append("%s is longer than %d" % (where, schema["maxLength"]))
        if "maxItems" in schema and len(value) > schema["maxItems"]:
            problems.append("%s has more than %d items" % (where, schema["maxItems"]))
        if schema.get("format") == "date-time":
            try:
                datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError:
                problems.append(where + " is no RFC 3339 time")
        return problems

    def check_parts(self, schema, value, where, words):
        problems = []
        if isinstance(value, list):
            for index, item in enumerate(value):
                problems += self.check(schema["items"], item, "%s[%d]" % (where, index), words)
        if isinstance(value, dict):
            properties = schema.get("properties", {})
            extra = schema.get("additionalProperties")
            for name in schema.get("required", []):
                if name not in value:
                    problems.append("%s.%s is missing" % (where, name))
            for name, item in value.items():
                if name in properties:
                    problems += self.check(properties[name], item, where + "." + name)
                elif isinstance(extra, dict):
                    problems += self.check(extra, item, where + "." + name)
                elif properties:
                    problems.append("%s.%s is not in the description" % (where, name))
        return problems

    def query_schemas(self, operation):
        return {**super().query_schemas(operation), **SENT_BY_THE_CLI.get(operation["operationId"], {})}


LABEL_NAME = re.compile(r"[a-z0-9A-Z]([a-z0-9A-Z._-]{0,61}[a-z0-9A-Z])?")


def check_labels(labels):
    """The rules for keys, which the description states in words only; values it has a pattern for."""
    problems = []
    for key in labels or {}:
        prefix, _, name = key.rpartition("/")
        if prefix.startswith("hetzner.cloud") or len(prefix) > 253:
            problems.append("label key %r has a reserved or too long prefix" % key)
        if not LABEL_NAME.fullmatch(name):
            problems.append("label key %r is malformed" % key)
    return problems


def selector_matches(selector, labels):
    """The label selectors of the API; ValueError for what is none, whatever the labels."""
    matches = True
    for part in re.split(r",(?![^(]*\))", selector):
        part = part.strip()
        match = re.fullmatch(r"([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)", part)
        among = re.fullmatch(r"([^\s!=,()]+)\s+(in|notin)\s+\(([^()]*)\)", part)
        if match:
            key, operator, value = match.groups()
            hit = (labels.get(key) == value) != (operator == "!=")
        elif among:
            key, operator, values = among.groups()
            hit = (labels.get(key) in [v.strip() for v in values.split(",")]) == (operator == "in")
        elif re.fullmatch(r"!?[^\s!=,()]+", part):
            hit = (part.lstrip("!") in labels) != part.startswith("!")
        else:
            raise ValueError("label selector %r is malformed" % selector)
        matches = matches and hit
    return matches
