# SPDX-License-Identifier: Apache-2.0
# Holds requests, answers and webhooks to Meta's own description (OpenAPI 3.1), so that the fake cannot be laxer than it.
"""Parts joined by allOf are made one before a member that they do not name is refused: taken literally, the description
of a text forbids what the description of every message requires."""
import jsonschema

from common.openapi import read_spec

# What Meta documents in words and the description leaves out.
DOCUMENTED = {"MediaObject": {"filename": {"type": "string", "maxLength": 240}, "caption": {"type": "string", "maxLength": 1024}}}
# Its pattern is meant as numbers and read as letters, and refuses its own example; its words say 0 to 9.
INDEX = {"type": "string", "pattern": "^[0-9]$"}
# Members of a message that comes in, which the description has for what goes out only.
ARRIVING = {"from": {"type": "string"}, "id": {"type": "string"}, "timestamp": {"type": "string", "pattern": "^[0-9]+$"},
            "type": {"type": "string"}, "context": {"type": "object"}, "group_id": {"type": "string"}}


class Description:
    def __init__(self):
        self.schemas = read_spec("whatsapp-cloud-reduced.json")["components"]["schemas"]
        self.cache = {}

    def whole(self, schema, closed):
        """The schema with references resolved and allOf joined; `closed` refuses members it does not name."""
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            made = self.whole(self.schemas[name], closed)
            if name == "TemplateComponent":
                made["properties"]["index"] = INDEX
            if name in DOCUMENTED:
                for part in [made] + made.get("oneOf", []):
                    part.setdefault("properties", {}).update(DOCUMENTED[name])
            return made
        made = {key: value for key, value in schema.items() if key not in ("allOf", "discriminator", "example", "examples")}
        for part in schema.get("allOf", []):
            part = self.whole(part, False)
            made.setdefault("properties", {}).update(part.pop("properties", {}))
            made["required"] = made.get("required", []) + part.pop("required", [])
            made.update({key: value for key, value in part.items() if key != "additionalProperties"})
        if "properties" in made:
            made["properties"] = {name: self.whole(part, closed) for name, part in made["properties"].items()}
        if "items" in made:
            made["items"] = self.whole(made["items"], closed)
        for several in ("oneOf", "anyOf"):
            if several in made:
                made[several] = [self.whole(part, closed) for part in made[several]]
        if closed and made.get("properties") and "oneOf" not in made:
            made["additionalProperties"] = False
        return made

    def validator(self, name, closed, more=None, drop=()):
        key = (name, closed)
        if key not in self.cache:
            schema = self.whole({"$ref": "#/" + name}, closed)
            schema["properties"] = {**schema.get("properties", {}), **(more or {})}
            schema["required"] = [n for n in schema.get("required", []) if n not in drop]
            self.cache[key] = jsonschema.Draft202012Validator(schema)
        return self.cache[key]

    def problems(self, validator, value, where):
        return ["%s%s: %s" % (where, "".join("." + str(p) for p in error.absolute_path), error.message[:200])
                for error in validator.iter_errors(value)]

    def check_message(self, body):
        """A message on its way out, by its type."""
        kinds = {"text": "TextMessage", "interactive": "InteractiveMessage", "template": "TemplateMessage", "document": "DocumentMessage"}
        if not isinstance(body, dict) or body.get("type") not in kinds:
            return ["type is none of %s" % ", ".join(kinds)]
        return self.problems(self.validator(kinds[body["type"]], True), body, body["type"])

    def check_answer(self, body):
        return self.problems(self.validator("MessageResponsePayload", True), body, "answer")

    def check_error(self, body):
        return self.problems(self.validator("GraphAPIError", False), body, "error")

    def check_webhook(self, body):
        """What the fake posts: envelope, metadata and contacts by the description, each message by its type."""
        problems = []
        for entry in body["entry"]:
            for change in entry["changes"]:
                value = change["value"]
                name = "StatusMessageValue" if "statuses" in value else "IncomingMessageValueGeneral"
                plain = {**value, "messages": []} if "messages" in value else value
                problems += self.problems(self.validator(name, True), plain, "webhook")
                for message in value.get("messages", []):
                    problems += self.check_arriving(message)
        return problems

    def check_arriving(self, message):
        kinds = {"text": "TextMessage", "interactive": "InteractiveMessageReply", "button": "ButtonMessage"}
        if message["type"] not in kinds:
            return []  # media and the like, which Berth does not read
        name = kinds[message["type"]]
        base = self.whole({"$ref": "#/BaseMessageProperties"}, False)["required"]
        validator = self.cache.get(("arriving", name))
        if validator is None:
            schema = self.whole({"$ref": "#/" + name}, False)
            schema["properties"] = {**schema["properties"], **{k: v for k, v in ARRIVING.items() if k not in ("context", "type")}}
            if name == "TextMessage":
                schema["properties"]["context"] = ARRIVING["context"]
            schema["required"] = [n for n in schema["required"] if n not in base] + ["from", "id", "timestamp", "type"]
            validator = self.cache[("arriving", name)] = jsonschema.Draft202012Validator(schema)
        return self.problems(validator, message, name)
