# SPDX-License-Identifier: Apache-2.0
# Holds requests and answers to the description of the Bot API, so that the fake cannot be laxer than it.
import json
import re

from common.openapi import read_spec

PLAIN = {
    "String": lambda v: isinstance(v, str),
    "Integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "Float": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "Boolean": lambda v: isinstance(v, bool),
    "InputFile": lambda v: isinstance(v, (str, bytes)),
}


class Description:
    def __init__(self):
        document = read_spec("telegram-bot-api-reduced.json")
        self.methods = {name.lower(): method for name, method in document["methods"].items()}
        self.types = document["types"]

    def method(self, name):
        """Names of methods are matched without case, as Telegram does."""
        return self.methods.get(name.lower())

    def check_type(self, kind, value, where):
        """What is wrong with `value` as `kind`: a list of sentences."""
        if kind.startswith("Array of "):
            if not isinstance(value, list):
                return [where + " must be an array"]
            return [p for i, item in enumerate(value) for p in self.check_type(kind[9:], item, "%s[%d]" % (where, i))]
        if kind in PLAIN:
            return [] if PLAIN[kind](value) else ["%s must be %s" % (where, kind)]
        described = self.types.get(kind)
        if described is None:
            return ["%s: type %s is not in the reduced description" % (where, kind)]
        if described.get("subtypes"):
            return self.check_any(described["subtypes"], value, where)
        return self.check_fields(described.get("fields") or [], value, where)

    def check_any(self, kinds, value, where):
        problems = []
        for kind in kinds:
            problems = self.check_type(kind, value, where)
            if not problems:
                return []
        return problems if len(kinds) == 1 else ["%s is none of %s" % (where, ", ".join(kinds))]

    def check_fields(self, fields, value, where):
        if not isinstance(value, dict):
            return [where + " must be an object"]
        known = {field["name"]: field for field in fields}
        problems = ["%s.%s is not in the description" % (where, name) for name in value if name not in known]
        problems += ["%s.%s is missing" % (where, n) for n, f in known.items() if f["required"] and n not in value]
        for name, item in value.items():
            if name in known:
                problems += self.check_any(known[name]["types"], item, "%s.%s" % (where, name))
        return problems

    def check_request(self, method, parameters):
        return self.check_fields(method.get("fields") or [], parameters, method["name"])

    def check_result(self, method, result):
        return self.check_any(method["returns"], result, method["name"] + " result")

    def read_form(self, method, form):
        """The texts of a form or query as the values they stand for; what cannot be read stays a text."""
        known = {field["name"]: field for field in method.get("fields") or []}
        values = {}
        for name, text in form.items():
            kinds = known.get(name, {"types": ["String"]})["types"]
            values[name] = text
            if not isinstance(text, str):
                continue
            if "Integer" in kinds and re.fullmatch(r"-?[0-9]{1,18}", text):
                values[name] = int(text)
            elif kinds == ["Boolean"]:
                values[name] = {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
            elif "String" not in kinds and "InputFile" not in kinds:
                try:
                    values[name] = json.loads(text)
                except ValueError:
                    pass
        return values
