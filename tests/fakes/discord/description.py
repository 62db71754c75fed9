# SPDX-License-Identifier: Apache-2.0
# Holds requests and answers to Discord's own description (OpenAPI 3.1), so that the fake cannot be laxer than it.
import copy
import json
import os
import re

import jsonschema

# What Discord's own libraries send although the description does not name it there, and are not refused for.
SENT_BY_THE_LIBRARIES = {"tts": False, "enforce_nonce": False}

HERE = os.path.dirname(os.path.abspath(__file__))
SPEC = os.path.join(HERE, "..", "..", "support", "specs", "discord-reduced.json")


def closed(schemas):
    """The same schemas, where an object takes no member that they do not name."""
    schemas = copy.deepcopy(schemas)
    for schema in schemas.values():
        if schema.get("type") == "object" and "properties" in schema and "allOf" not in schema:
            schema.setdefault("additionalProperties", False)
    return schemas


class Description:
    def __init__(self, path=SPEC):
        with open(path, encoding="utf-8") as file:
            self.document = json.load(file)
        schemas = self.document["components"]["schemas"]
        self.open = {"components": {"schemas": schemas}}
        self.closed = {"components": {"schemas": closed(schemas)}}
        self.validators = {}
        self.routes = []
        for template, operations in self.document["paths"].items():
            pattern = re.compile("^" + re.sub(r"\{[a-z_]+\}", "([^/]+)", template) + "$")
            for method, operation in operations.items():
                if method != "parameters":
                    self.routes.append((template.count("{"), method.upper(), template, pattern, operation))
        self.routes.sort(key=lambda route: route[0])

    def route(self, method, path):
        """(template, operation) or None."""
        for _, verb, template, pattern, operation in self.routes:
            if verb == method and pattern.match(path):
                return template, operation
        return None

    def problems(self, schema, value, strict):
        key = (json.dumps(schema, sort_keys=True), strict)
        if key not in self.validators:
            whole = {**schema, **(self.closed if strict else self.open)}
            self.validators[key] = jsonschema.Draft202012Validator(whole)
        return [self.words(error) for error in self.validators[key].iter_errors(value)]

    @staticmethod
    def words(error):
        while error.context:  # of a union, what the nearest alternative says
            error = max(error.context, key=lambda inner: len(inner.absolute_path))
        return "%s: %s" % ("/".join(str(part) for part in error.absolute_path) or "body", error.message[:200])

    def check_body(self, operation, body):
        if "requestBody" not in operation:
            return [] if body is None else ["this operation takes no body"]
        if body is None:
            return ["the body is missing"] if operation["requestBody"].get("required") else []
        if isinstance(body, dict):
            body = {name: self.pruned(value) for name, value in self.pruned(body).items()}
        return self.problems(operation["requestBody"]["content"]["application/json"]["schema"], body, True)

    @staticmethod
    def pruned(value):
        if not isinstance(value, dict):
            return value
        return {name: part for name, part in value.items() if SENT_BY_THE_LIBRARIES.get(name, ...) is not part}

    def check_query(self, operation, query):
        known = {p["name"]: p["schema"] for p in operation.get("parameters", []) if p["in"] == "query"}
        problems = []
        for name, text in query.items():
            if name not in known:
                problems.append("query parameter %s is not in the description" % name)
                continue
            value = text
            if known[name].get("type") == "integer" and re.fullmatch(r"[0-9]{1,16}", text):
                value = int(text)
            if known[name].get("type") == "boolean":
                value = {"true": True, "false": False}.get(text, text)
            problems += self.problems(known[name], value, False)
        return problems

    def check_answer(self, operation, status, body):
        responses = operation["responses"]
        response = responses.get(str(status)) or responses.get("%dXX" % (status // 100))
        if response is None:
            return [] if status >= 500 else ["status %d is not in the description" % status]
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
        if status >= 400 and isinstance(body, dict):  # it calls codes of fields integers; the service sends texts
            body = {name: value for name, value in body.items() if name != "errors"}
        if "content" not in response:
            return [] if body is None else ["status %d has no body" % status]
        return self.problems(response["content"]["application/json"]["schema"], body, False)
