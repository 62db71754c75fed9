# SPDX-License-Identifier: Apache-2.0
# Block Kit as Slack checks it (docs.slack.dev/reference/block-kit): types, required fields, limits; unknown fields too.
from world import Refusal


def bad(why):
    return Refusal("invalid_blocks", response_metadata={"messages": ["[ERROR] " + why]})


def fields(thing, where, required, optional=()):
    if not isinstance(thing, dict):
        raise bad("%s must be an object" % where)
    for name in required:
        if name not in thing:
            raise bad("%s: missing %s" % (where, name))
    for name in thing:
        if name not in required and name not in optional:
            raise bad("%s: unknown field %s" % (where, name))


def text(thing, where, most, kinds=("plain_text", "mrkdwn"), least=1):
    fields(thing, where, ("type", "text"), ("emoji", "verbatim"))
    if thing["type"] not in kinds:
        raise bad("%s: %r is no text type here" % (where, thing["type"]))
    if "emoji" in thing and thing["type"] != "plain_text" or "verbatim" in thing and thing["type"] != "mrkdwn":
        raise bad("%s: a field of the other text type" % where)
    if not isinstance(thing["text"], str) or not least <= len(thing["text"]) <= most:
        raise bad("%s: must have %d to %d characters" % (where, least, most))


def button(thing, where):
    fields(thing, where, ("type", "text", "action_id"), ("value", "style", "url", "confirm", "accessibility_label"))
    text(thing["text"], where + ".text", 75, ("plain_text",))
    if thing.get("style", "primary") not in ("primary", "danger"):
        raise bad(where + ": style must be primary or danger")
    if len(thing["action_id"]) > 255 or len(thing.get("value", "")) > 2000:
        raise bad(where + ": too long")


def rich_text(thing, where):
    if thing.get("type") not in ("rich_text_section", "rich_text_preformatted", "rich_text_quote"):
        raise bad(where + ": unknown rich text element")
    fields(thing, where, ("type", "elements"), ("border",))
    for piece in thing["elements"]:
        fields(piece, where + ".elements", ("type", "text"), ("style",))
        if piece["type"] != "text" or not isinstance(piece["text"], str) or not piece["text"]:
            raise bad(where + ": a text element has text")


def block(thing, where):
    kind = thing.get("type") if isinstance(thing, dict) else None
    if kind == "header":
        fields(thing, where, ("type", "text"), ("block_id",))
        text(thing["text"], where + ".text", 150, ("plain_text",))
    elif kind == "section":
        fields(thing, where, ("type",), ("text", "fields", "block_id", "accessory", "expand"))
        if "text" not in thing and "fields" not in thing:
            raise bad(where + ": text or fields")
        if "text" in thing:
            text(thing["text"], where + ".text", 3000)
        if not 1 <= len(thing.get("fields", [0])) <= 10:
            raise bad(where + ": 1 to 10 fields")
        for one in thing.get("fields", []):
            text(one, where + ".fields", 2000)
    elif kind == "context":
        fields(thing, where, ("type", "elements"), ("block_id",))
        if not 1 <= len(thing["elements"]) <= 10:
            raise bad(where + ": 1 to 10 elements")
        for one in thing["elements"]:
            text(one, where + ".elements", 3000)
    elif kind == "actions":
        fields(thing, where, ("type", "elements"), ("block_id",))
        if not 1 <= len(thing["elements"]) <= 25:
            raise bad(where + ": 1 to 25 elements")
        ids = [one.get("action_id") for one in thing["elements"]]
        if len(set(ids)) != len(ids):
            raise bad(where + ": action_id twice")
        for one in thing["elements"]:
            if one.get("type") != "button":
                raise bad(where + ": only buttons are known to this fake")
            button(one, where + ".elements")
    elif kind == "rich_text":
        fields(thing, where, ("type", "elements"), ("block_id",))
        for one in thing["elements"]:
            rich_text(one, where + ".elements")
    elif kind == "divider":
        fields(thing, where, ("type",), ("block_id",))
    elif kind == "input":
        fields(thing, where, ("type", "label", "element"), ("block_id", "hint", "optional", "dispatch_action"))
        text(thing["label"], where + ".label", 2000, ("plain_text",))
        fields(thing["element"], where + ".element", ("type", "action_id"),
               ("multiline", "max_length", "min_length", "placeholder", "initial_value"))
    else:
        raise bad("%s: unknown block type %r" % (where, kind))


def check(blocks, where="blocks", most=50):
    if not isinstance(blocks, list) or len(blocks) > most:
        raise Refusal("invalid_blocks_format")
    for index, one in enumerate(blocks):
        block(one, "%s/%d" % (where, index))
    # A message's blocks together (documented by experiment, not by Slack).
    if sum(len(piece["text"]) for one in blocks if one["type"] == "rich_text" for e in one["elements"] for piece in e["elements"]) > 12000:
        raise Refusal("msg_blocks_too_long")


def check_view(view):
    fields(view, "view", ("type", "title", "blocks"),
           ("submit", "close", "private_metadata", "callback_id", "clear_on_close", "notify_on_close", "external_id"))
    if view["type"] != "modal" or len(view.get("private_metadata", "")) > 3000 or len(view.get("callback_id", "")) > 255:
        raise Refusal("invalid_arguments")
    for name in ("title", "submit", "close"):
        if name in view:
            text(view[name], "view." + name, 24, ("plain_text",))
    check(view["blocks"], "view.blocks", 100)


def strip(blocks):
    """Blocks as Slack gives them back: each with a block_id."""
    return [{"block_id": "b%d" % index, **one} for index, one in enumerate(blocks)]
