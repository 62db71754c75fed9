# SPDX-License-Identifier: Apache-2.0
# Holds requests and answers to Discord's own description (OpenAPI 3.1), so that the fake cannot be laxer than it.
import copy
import json

import jsonschema

from common.openapi import OpenApi, read_spec

# What Discord's own libraries send although the description does not name it there, and are not refused for.
SENT_BY_THE_LIBRARIES = {"tts": False, "enforce_nonce": False}


def closed(schemas):
    """The same schemas, where an object takes no member that they do not name."""
    schemas = copy.deepcopy(schemas)
    for schema in schemas.values():
        if schema.get("type") == "object" and "properties" in schema and "allOf" not in schema:
            schema.setdefault("additionalProperties", False)
    return schemas


class Description(OpenApi):
    def __init__(self):
        super().__init__(read_spec("discord-reduced.json"))
        schemas = self.document["components"]["schemas"]
        self.open = {"components": {"schemas": schemas}}
        self.closed = {"components": {"schemas": closed(schemas)}}
        self.validators = {}

    def problems(self, schema, value, where):
        """A body is what is sent: it has no member that is not named."""
        key = (json.dumps(schema, sort_keys=True), where == "body")
        if key not in self.validators:
            whole = {**schema, **(self.closed if where == "body" else self.open)}
            self.validators[key] = jsonschema.Draft202012Validator(whole)
        return [self.words(error, where) for error in self.validators[key].iter_errors(value)]

    @staticmethod
    def words(error, where):
        while error.context:  # of a union, what the nearest alternative says
            error = max(error.context, key=lambda inner: len(inner.absolute_path))
        return "%s: %s" % ("/".join(str(part) for part in error.absolute_path) or where, error.message[:200])

    def check_body(self, operation, body):
        if isinstance(body, dict):
            body = {name: self.pruned(value) for name, value in self.pruned(body).items()}
        return super().check_body(operation, body)

    @staticmethod
    def pruned(value):
        if not isinstance(value, dict):
            return value
        return {name: part for name, part in value.items() if SENT_BY_THE_LIBRARIES.get(name, ...) is not part}

    def check_answer(self, operation, status, body):
        if status >= 500:
            return []
        if status >= 400 and isinstance(body, dict):  # it calls codes of fields integers; the service sends texts
            body = {name: value for name, value in body.items() if name != "errors"}
        return super().check_answer(operation, status, body)
