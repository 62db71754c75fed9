# SPDX-License-Identifier: Apache-2.0
# Requests and answers by an OpenAPI description. How a value is held to a schema is the fake's own.
import json
import os
import re

SPECS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support", "specs")


def read_spec(name):
    with open(os.path.join(SPECS, name), encoding="utf-8") as file:
        return json.load(file)


class OpenApi:
    """problems(schema, value, where): what is wrong with a value, as a list of sentences."""

    def __init__(self, document):
        self.document = document
        self.routes = []
        for template, operations in document["paths"].items():
            pattern = re.compile("^" + re.sub(r"\{([a-z_]+)\}", r"(?P<\1>[^/]+)", template) + "$")
            for method, operation in operations.items():
                if method not in ("parameters", "servers"):
                    # A literal path goes before one with a parameter: /servers/actions is not /servers/{id}.
                    self.routes.append((template.count("{"), method.upper(), template, pattern, operation))
        self.routes.sort(key=lambda route: route[0])

    def route(self, method, path):
        """(template, operation, {path argument: text}) or None."""
        for _, verb, template, pattern, operation in self.routes:
            match = pattern.match(path)
            if match and verb == method:
                return template, operation, match.groupdict()
        return None

    def query_schemas(self, operation):
        return {p["name"]: p["schema"] for p in operation.get("parameters", []) if p["in"] == "query"}

    def check_query(self, operation, query):
        """`query`: name → list of texts."""
        known, problems = self.query_schemas(operation), []
        for name, texts in query.items():
            if name not in known:
                problems.append("query parameter %s is not in the description" % name)
                continue
            schema = known[name]
            if schema.get("type") == "array":
                schema = schema["items"]
            elif len(texts) != 1:
                problems.append("query parameter %s is given twice" % name)
            for text in texts:
                value = text
                if schema.get("type") == "integer" and re.fullmatch(r"[0-9]{1,16}", text):
                    value = int(text)
                if schema.get("type") == "boolean":
                    value = {"true": True, "false": False}.get(text, text)
                problems += self.problems(schema, value, "query parameter " + name)
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "query" and parameter.get("required") and parameter["name"] not in query:
                problems.append("query parameter %s is missing" % parameter["name"])
        return problems

    def check_body(self, operation, body):
        if "requestBody" not in operation:
            return [] if body is None else ["this operation takes no body"]
        if body is None:
            return ["the body is missing"] if operation["requestBody"].get("required") else []
        return self.problems(operation["requestBody"]["content"]["application/json"]["schema"], body, "body")

    def check_answer(self, operation, status, body):
        responses = {name.lower(): response for name, response in operation["responses"].items()}
        response = responses.get(str(status)) or responses.get("%dxx" % (status // 100))
        if response is None:
            return ["status %d is not in the description" % status]
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
        if "content" not in response:
            return [] if body is None else ["status %d has no body" % status]
        return self.problems(response["content"]["application/json"]["schema"], body, "answer")
