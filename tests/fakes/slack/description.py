# SPDX-License-Identifier: Apache-2.0
# Holds requests, answers and events to Slack's own descriptions, so that the fake cannot be laxer than Slack.
"""slack-web-reduced.json (Swagger 2.0) is of a time before JSON bodies, metadata and external uploads; DOCUMENTED has what
Slack's pages say since then. Swagger's `items` of several schemas is one of them, not a tuple."""
import jsonschema

from common.openapi import read_spec

# What docs.slack.dev documents and the descriptions do not have yet, by method or by definition.
DOCUMENTED_ARGUMENTS = {
    "auth.test": (), "bots.info": ("team_id",), "users.info": (), "chat.postMessage": ("metadata", "unfurl_media"),
    "chat.postEphemeral": (), "chat.update": ("metadata", "reply_broadcast"),
    "conversations.history": ("include_all_metadata",), "conversations.replies": ("include_all_metadata",), "views.open": ()}
DOCUMENTED_MEMBERS = {
    "objs_message": {"app_id": {"$ref": "#/definitions/defs_app_id"}, "metadata": {"type": "object", "required": [
        "event_type", "event_payload"]}, "edited": {"type": "object"}},
    "conversations.history": {"response_metadata": {"type": "object", "required": ["next_cursor"]}},
    "conversations.replies": {"response_metadata": {"type": "object"}, "pin_count": {"type": "integer"},
                              "channel_actions_ts": {"type": ["integer", "null"]}, "channel_actions_count": {"type": "integer"}},
    "auth.test": {"bot_id": {"$ref": "#/definitions/defs_bot_id"}},
}
# Methods that are younger than the description.
YOUNGER = ("apps.connections.open", "files.getUploadURLExternal", "files.completeUploadExternal")
# An answer's errors since then; `response_metadata` says what was wrong.
DOCUMENTED_ERRORS = {
    "not_authed", "invalid_auth", "unknown_method", "unknown_field", "invalid_arguments", "invalid_blocks", "invalid_blocks_format", "json_not_supported",
    "token_revoked", "not_allowed_token_type", "ratelimited", "thread_not_found", "invalid_metadata_format", "user_not_in_channel",
    "message_not_found", "cant_update_message", "invalid_trigger_id", "expired_trigger_id", "view_too_large", "no_text", "internal_error",
    "fatal_error", "service_unavailable", "msg_too_long", "is_archived", "not_in_channel", "channel_not_found", "account_inactive"}


def shape(value):
    """Names and types without values."""
    if isinstance(value, dict):
        return tuple(sorted((name, shape(one)) for name, one in value.items()))
    if isinstance(value, list):
        return (list,) + tuple(sorted({shape(one) for one in value}, key=repr))
    return type(value).__name__


class Description:
    def __init__(self):
        self.document = read_spec("slack-web-reduced.json")
        self.events = read_spec("slack_events_api_async_v1.json")
        self.wrapper = read_spec("slack_common_event_wrapper_schema.json")
        for name, more in DOCUMENTED_MEMBERS.items():
            schema = self.document["definitions"].get(name) or self.operation(name)["responses"]["200"]["schema"]
            schema["properties"] = {**schema["properties"], **more}
        # A thread is made of messages; the description gives its first two of a thread of its time.
        replies = self.operation("conversations.replies")["responses"]["200"]["schema"]
        replies["properties"]["messages"] = {"type": "array", "items": {"$ref": "#/definitions/objs_message"}}
        # A channel may be empty.
        self.operation("conversations.history")["responses"]["200"]["schema"]["properties"]["messages"].pop("minItems")
        # Blocks are a list, as everywhere else in the description.
        message = self.operation("chat.update")["responses"]["200"]["schema"]["properties"]["message"]
        message["properties"]["blocks"] = {"$ref": "#/definitions/blocks"}
        self.document = self.without_tuples(self.document)
        self.validators, self.right = {}, set()

    def without_tuples(self, schema):
        if isinstance(schema, list):
            return [self.without_tuples(one) for one in schema]
        if not isinstance(schema, dict):
            return schema
        made = {name: self.without_tuples(one) for name, one in schema.items()}
        if isinstance(made.get("items"), list):
            several = made.pop("items")
            if made.get("type") == "array":
                made["items"] = {"anyOf": several}
            else:
                made["anyOf"] = several
        return made

    def operation(self, method):
        path = self.document["paths"].get("/" + method)
        return next(one for verb, one in path.items() if verb != "parameters") if path else None

    def problems(self, key, schema, whole, value):
        """A shape that was right once is not looked at again: a soak makes thousands of them."""
        known = (key, shape(value))
        if known in self.right:
            return []
        if key not in self.validators:
            self.validators[key] = jsonschema.Draft4Validator(schema, resolver=jsonschema.RefResolver("", whole))
        found = ["%s%s: %s" % (key, "".join("." + str(p) for p in error.absolute_path), error.message[:200])
                 for error in self.validators[key].iter_errors(value)]
        if not found:
            self.right.add(known)
        return found

    def check_request(self, method, arguments):
        operation = self.operation(method)
        if operation is None:
            return [] if method in YOUNGER else [method + " is not in the description"]
        known = {p["name"]: p for p in operation["parameters"]}
        found = ["%s: %s is missing" % (method, name) for name, p in known.items()
                 if p.get("required") and name != "token" and name not in arguments]
        return found + ["%s: %s is not in the description" % (method, name) for name in arguments
                        if name not in known and name not in DOCUMENTED_ARGUMENTS[method] + ("team_id",)]

    def check_answer(self, method, answer):
        if not answer["ok"]:
            code = answer["error"]
            operation = self.operation(method)
            schema = operation["responses"]["default"]["schema"] if operation else {}
            known = set(schema.get("properties", {}).get("error", {}).get("enum", ())) | DOCUMENTED_ERRORS
            return [] if code in known else ["%s: %s is no error of Slack's" % (method, code)]
        operation = self.operation(method)
        if operation is None:
            return []
        return self.problems(method, operation["responses"]["200"]["schema"], self.document, answer)

    def check_event(self, payload):
        """Of the Events API: the wrapper, and the event by its topic."""
        event = payload["event"]
        name = {"app_mention": "app.mention", "message": "message." + event.get("channel_type", "channels")}.get(event["type"])
        if name not in self.events["topics"]:
            return ["there is no event " + str(name or event["type"])]
        return self.problems("wrapper", self.wrapper, self.wrapper, payload) + self.problems(
            name, self.events["topics"][name]["subscribe"]["payload"], self.events, payload)
