# SPDX-License-Identifier: Apache-2.0
# Holds requests and answers to the provider's own description (OpenAPI 3.0), so that the fake cannot be laxer than it.
"""Only the keywords that hcloud-reduced.json uses; an unknown one is an error, not a silent pass."""
import json
import re
from datetime import datetime

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


class Description:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.document = json.load(file)
        self.routes = []
        for template, operations in self.document["paths"].items():
            pattern = re.compile("^" + re.sub(r"\{[a-z_]+\}", "([^/]+)", template) + "$")
            for method, operation in operations.items():
                if method != "servers":
                    # A literal path goes before one with a parameter: /servers/actions is not /servers/{id}.
                    self.routes.append((template.count("{"), method.upper(), template, pattern, operation))
        self.routes.sort(key=lambda route: route[0])

    def route(self, method, path):
        """(template, operation, path arguments) or None."""
        for _, verb, template, pattern, operation in self.routes:
            match = pattern.match(path)
            if match and verb == method:
                return template, operation, match.groups()
        return None

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

    def check_query(self, operation, query):
        """`query`: name → list of texts."""
        known = {p["name"]: p["schema"] for p in operation.get("parameters", []) if p["in"] == "query"}
        known.update(SENT_BY_THE_CLI.get(operation["operationId"], {}))
        problems = []
        for name, texts in query.items():
            if name not in known:
                problems.append("query parameter %s is not in the description" % name)
                continue
            schema = known[name]
            if schema["type"] == "array":
                schema = schema["items"]
            elif len(texts) != 1:
                problems.append("query parameter %s is given twice" % name)
            for text in texts:
                value = text
                if schema["type"] == "integer":
                    value = int(text) if re.fullmatch(r"[0-9]{1,16}", text) else text
                if schema["type"] == "boolean":
                    value = {"true": True, "false": False}.get(text, text)
                problems += self.check(schema, value, "query parameter " + name)
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "query" and parameter["required"] and parameter["name"] not in query:
                problems.append("query parameter %s is missing" % parameter["name"])
        return problems

    def check_body(self, operation, body):
        if "requestBody" not in operation:
            return [] if body is None else ["this operation takes no body"]
        if body is None:
            return ["the body is missing"] if operation["requestBody"].get("required") else []
        return self.check(operation["requestBody"]["content"]["application/json"]["schema"], body, "body")

    def check_answer(self, operation, status, body):
        responses = operation["responses"]
        response = responses.get(str(status)) or responses.get("%dxx" % (status // 100))
        if response is None:
            return ["status %d is not in the description" % status]
        if "content" not in response:
            return [] if body is None else ["status %d has no body" % status]
        return self.check(response["content"]["application/json"]["schema"], body, "answer")


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
