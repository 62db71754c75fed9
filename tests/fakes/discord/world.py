# SPDX-License-Identifier: Apache-2.0
# What the fake Discord remembers: people, channels, messages, commands, interactions, and its rules about them.
import re
import secrets
import threading
import time
from datetime import datetime, timezone

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

EPOCH = 1420070400000
EPHEMERAL = 1 << 6
LOADING = 1 << 7
NONCE_LIVES = 300.0
TEXT, DM, THREAD = 0, 1, 11


class Refusal(Exception):
    """An answer of the API that is an error."""

    def __init__(self, status, code, message, errors=None):
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message}
        if errors:
            self.body["errors"] = errors


def bad_form(field, code, message):
    tree = {"_errors": [{"code": code, "message": message}]}
    for part in reversed(field.split(".")):
        tree = {part: tree}
    return Refusal(400, 50035, "Invalid Form Body", tree)


class Snowflakes:
    def __init__(self):
        self.lock = threading.Lock()
        self.last = 0

    def next(self):
        with self.lock:
            fresh = (int(time.time() * 1000) - EPOCH) << 22
            self.last = max(fresh, self.last + 1)
            return str(self.last)


def now_text(at=None):
    return datetime.fromtimestamp(at or time.time(), timezone.utc).isoformat()


class World:
    def __init__(self, token, public_url):
        self.ids = Snowflakes()
        self.token = token
        self.public_url = public_url
        self.key = Ed25519PrivateKey.generate()
        self.application_id = self.ids.next()
        self.people = {}
        self.bot = self.person("berth-bot", "Berth", bot=True)
        self.guild_id = self.ids.next()
        self.owner = self.person("owner", "Owner")
        self.channels = {}
        self.messages = {}  # channel id → {message id → message}, in order
        self.commands = []
        self.interactions = {}
        self.by_token = {}
        self.nonces = {}  # (author, channel, nonce) → (when, message id)
        self.settings = {
            "heartbeat_interval": 41250, "identify_remaining": 1000, "identify_every": 0.0, "token_life": 900.0,
            "answer_within": 3.0, "interactions_url": "", "history_nonce": False, "max_file": 10 << 20,
            "limits": {"POST /channels/{channel_id}/messages": [5, 5.0]}, "global_limit": 50,
            "replay_limit": 100000, "privileged": [], "verify_answers": True,
        }
        self.general = self.add_channel(TEXT, "general")["id"]
        self.other = self.add_channel(TEXT, "other")["id"]
        self.thread = self.add_channel(THREAD, "a thread", parent=self.general)["id"]

    # --- people and places ---------------------------------------------------------------------
    def verify_key(self):
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def person(self, name, shown=None, bot=False):
        if name not in self.people:
            user = {"id": self.ids.next(), "username": name, "avatar": None, "discriminator": "0", "public_flags": 0,
                    "flags": 0, "global_name": shown or name.capitalize(), "primary_guild": None}
            if bot:
                user["bot"] = True
            self.people[name] = user
        return self.people[name]

    def add_channel(self, kind, name, parent=None, recipient=None):
        channel = {"id": self.ids.next(), "type": kind, "flags": 0, "last_message_id": None}
        if kind == DM:
            channel["recipients"] = [recipient]
        else:
            channel.update({"guild_id": self.guild_id, "name": name, "parent_id": parent})
        if kind == TEXT:
            channel.update({"position": len(self.channels), "permission_overwrites": [], "nsfw": False, "topic": None})
        if kind == THREAD:
            channel.update({
                "owner_id": self.owner["id"], "message_count": 0, "member_count": 1, "total_message_sent": 0,
                "thread_metadata": {"archived": False, "archive_timestamp": now_text(), "auto_archive_duration": 1440,
                                    "locked": False, "create_timestamp": now_text()}})
        self.channels[channel["id"]] = channel
        self.messages[channel["id"]] = {}
        channel["_access"] = "open"  # or "closed" (50001), "mute" (50013), "blocked" (50007)
        return channel

    def dm_of(self, user):
        for channel in self.channels.values():
            if channel["type"] == DM and channel["recipients"][0]["id"] == user["id"]:
                return channel
        return self.add_channel(DM, "", recipient=user)

    def place(self, name):
        """A channel by its id, by one of the names general, other, thread, or "dm:<person>"."""
        if name.startswith("dm:"):
            return self.dm_of(self.person(name[3:]))
        ident = {"general": self.general, "other": self.other, "thread": self.thread}.get(name, name)
        return self.channels[ident]

    def channel(self, ident, posting=False):
        if not re.fullmatch(r"[0-9]{1,20}", ident):
            raise bad_form("channel_id", "NUMBER_TYPE_COERCE", "Value \"%s\" is not snowflake." % ident)
        channel = self.channels.get(ident)
        if channel is None:
            raise Refusal(404, 10003, "Unknown Channel")
        if channel["_access"] == "closed":
            raise Refusal(403, 50001, "Missing Access")
        if posting and channel["_access"] == "mute":
            raise Refusal(403, 50013, "Missing Permissions")
        if posting and channel["_access"] == "blocked":
            raise Refusal(403, 50007, "Cannot send messages to this user")
        return channel

    @staticmethod
    def shown(thing):
        return {key: value for key, value in thing.items() if not key.startswith("_")}

    def message(self, channel_id, ident, ephemeral=False):
        message = self.messages[channel_id].get(ident)
        if message is None or (message["flags"] & EPHEMERAL and not ephemeral):
            raise Refusal(404, 10008, "Unknown Message")
        return message

    # --- messages ------------------------------------------------------------------------------
    def check_content(self, body, files, old=None):
        content = body.get("content") or ""
        if len(content) > 2000:
            raise bad_form("content", "BASE_TYPE_MAX_LENGTH", "Must be 2000 or fewer in length.")
        embeds = body.get("embeds") or []
        total = 0
        for index, embed in enumerate(embeds):
            texts = [embed.get("title"), embed.get("description"), (embed.get("footer") or {}).get("text"),
                     (embed.get("author") or {}).get("name")]
            for number, field in enumerate(embed.get("fields") or []):
                texts += [field["name"], field["value"]]
                for part in ("name", "value"):
                    if not field[part].strip():
                        raise bad_form("embeds.%d.fields.%d.%s" % (index, number, part), "BASE_TYPE_REQUIRED",
                                       "This field is required")
            if not any(texts):
                raise bad_form("embeds.%d.description" % index, "BASE_TYPE_REQUIRED", "This field is required")
            total += sum(len(text or "") for text in texts)
        if total > 6000:
            raise bad_form("embeds", "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000")
        rows = body.get("components") or []
        if len(rows) > 5:
            raise bad_form("components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
        seen = set()
        for number, row in enumerate(rows):
            for place, item in enumerate(row.get("components", [])):
                where = "components.%d.components.%d" % (number, place)
                if item.get("type") == 2 and item.get("style") != 5:
                    if not item.get("custom_id"):
                        raise bad_form(where + ".custom_id", "BUTTON_COMPONENT_CUSTOM_ID_REQUIRED",
                                       "A custom id is required")
                    if not item.get("label") and not item.get("emoji"):
                        raise bad_form(where + ".label", "BUTTON_COMPONENT_INVALID_LABEL", "A button needs a label")
                if item.get("custom_id") in seen:
                    raise bad_form(where + ".custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED",
                                   "Component custom id cannot be duplicated")
                seen.add(item.get("custom_id"))
        for name, data in files:
            if len(data) > self.settings["max_file"]:
                raise Refusal(413, 40005, "Request entity too large")
        kept = old or {"content": "", "embeds": [], "attachments": [], "components": []}
        after = (content.strip() if "content" in body else kept["content"],
                 embeds if "embeds" in body else kept["embeds"], files or kept["attachments"],
                 rows if "components" in body else kept["components"])
        if not any(after):
            raise Refusal(400, 50006, "Cannot send an empty message")

    def dressed_embeds(self, embeds):
        out = []
        for embed in embeds or []:
            embed = {"type": "rich", **{key: value for key, value in embed.items() if value is not None}}
            if "fields" in embed:
                embed["fields"] = [{"inline": False, **field} for field in embed["fields"]]
            out.append(embed)
        return out

    def dressed_components(self, rows):
        out, number = [], 0
        for row in rows or []:
            number += 1
            dressed = {**row, "id": number, "components": []}
            for item in row["components"]:
                number += 1
                dressed["components"].append({**item, "id": number})
            out.append(dressed)
        return out

    def attachments(self, files, channel_id, declared):
        out = []
        for index, (name, data) in enumerate(files):
            ident = self.ids.next()
            url = "%s/attachments/%s/%s/%s" % (self.public_url, channel_id, ident, name)
            out.append({"id": ident, "filename": name, "size": len(data), "url": url, "proxy_url": url,
                        "_data": data.decode("utf-8", "replace")})
        if declared and {part["id"] for part in declared} - {str(n) for n in range(len(files))}:
            raise bad_form("attachments", "ATTACHMENT_NOT_FOUND", "Attachment data not found")
        return out

    def mentions(self, content, allowed):
        """(users, everyone): who is told, after allowed_mentions."""
        parse = ["users", "roles", "everyone"] if allowed is None else (allowed.get("parse") or [])
        named = [user for user in self.people.values() if "<@%s>" % user["id"] in content
                 or "<@!%s>" % user["id"] in content]
        listed = (allowed or {}).get("users") or []
        told = [user for user in named if "users" in parse or user["id"] in listed]
        return told, "everyone" in parse and ("@everyone" in content or "@here" in content)

    def add_message(self, channel, author, body, files=(), flags=0, kind=0):
        self.check_content(body, files)
        content = (body.get("content") or "").strip()
        told, everyone = self.mentions(content, body.get("allowed_mentions"))
        ident = self.ids.next()
        message = {
            "id": ident, "channel_id": channel["id"], "type": kind, "content": content, "mentions": told,
            "mention_roles": [], "mention_everyone": everyone, "embeds": self.dressed_embeds(body.get("embeds")),
            "attachments": self.attachments(files, channel["id"], body.get("attachments")),
            "components": self.dressed_components(body.get("components")), "timestamp": now_text(),
            "edited_timestamp": None, "flags": flags, "author": author, "pinned": False, "tts": False,
            "_posted": time.time(), "_edits": 0, "_shown_everyone": "@everyone" in content or "@here" in content,
        }
        if body.get("nonce") is not None:
            message["nonce"] = body["nonce"]
        reference = body.get("message_reference")
        if reference:
            told = self.messages[channel["id"]].get(reference["message_id"])
            if told is None and reference.get("fail_if_not_exists", True):
                raise bad_form("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
            if told is not None:
                message["type"] = 19
                message["message_reference"] = {"type": 0, "channel_id": channel["id"],
                                                "message_id": reference["message_id"]}
        self.messages[channel["id"]][ident] = message
        channel["last_message_id"] = ident
        return message

    def known_nonce(self, author, channel, body):
        """The message that this body would repeat, or None."""
        if not body.get("enforce_nonce") or body.get("nonce") is None:
            return None
        when, ident = self.nonces.get((author["id"], channel["id"], str(body["nonce"])), (0.0, ""))
        if time.time() - when > NONCE_LIVES:
            return None
        return self.messages[channel["id"]].get(ident)

    def post(self, channel, body, files):
        known = self.known_nonce(self.bot, channel, body)
        if known is not None:
            return known, False
        message = self.add_message(channel, self.bot, body, files)
        if body.get("nonce") is not None:
            self.nonces[(self.bot["id"], channel["id"], str(body["nonce"]))] = (time.time(), message["id"])
        return message, True

    def change(self, message, body, files=()):
        if message["author"]["id"] != self.bot["id"]:
            raise Refusal(403, 50005, "Cannot edit a message authored by another user")
        self.check_content(body, files, message)
        if "content" in body:
            message["content"] = (body["content"] or "").strip()
            message["mentions"], message["mention_everyone"] = self.mentions(
                message["content"], body.get("allowed_mentions"))
        if "embeds" in body:
            message["embeds"] = self.dressed_embeds(body["embeds"])
        if "components" in body:
            message["components"] = self.dressed_components(body["components"])
        if files:
            message["attachments"] = self.attachments(files, message["channel_id"], body.get("attachments"))
        elif "attachments" in body:
            kept = {part["id"] for part in body["attachments"] or []}
            message["attachments"] = [part for part in message["attachments"] if part["id"] in kept]
        message["edited_timestamp"] = now_text()
        message["_edits"] += 1
        return message

    def button(self, message, custom_id):
        for row in message["components"]:
            for item in row["components"]:
                if item.get("custom_id") == custom_id or item.get("label") == custom_id:
                    return item
        return None

    # --- interactions --------------------------------------------------------------------------
    def interaction(self, kind, user, channel, data, message=None):
        ident, token = self.ids.next(), "it_" + secrets.token_urlsafe(48)
        payload = {
            "id": ident, "application_id": self.application_id, "type": kind, "token": token, "version": 1,
            "channel_id": channel["id"], "channel": self.shown(channel), "data": data, "locale": "en-US",
            "entitlements": [], "attachment_size_limit": 10 << 20, "app_permissions": "562949953601536",
            "authorizing_integration_owners": {"0": "0" if channel["type"] == DM else self.guild_id},
            "context": 1 if channel["type"] == DM else 0,
        }
        if channel["type"] == DM:
            payload["user"] = user
        else:
            payload["guild_id"] = self.guild_id
            payload["guild"] = {"id": self.guild_id, "locale": "en-US", "features": []}
            payload["guild_locale"] = "en-US"
            payload["member"] = {"user": user, "roles": [], "joined_at": now_text(), "deaf": False, "mute": False,
                                 "flags": 0, "permissions": "562949953601536", "nick": None, "avatar": None,
                                 "premium_since": None, "pending": False, "communication_disabled_until": None}
        if message is not None:
            payload["message"] = self.shown(message)
        record = {"id": ident, "token": token, "kind": kind, "made": time.time(), "answer": None, "answered": None,
                  "channel": channel, "user": user, "message": message, "payload": payload, "original": None,
                  "modal": None, "followups": []}
        self.interactions[ident] = record
        self.by_token[token] = record
        return record

    def respond(self, record, body):
        """The first answer to an interaction. Raises Refusal; returns the message that was made or changed, or None."""
        if record["answer"] is not None:
            raise Refusal(400, 40060, "Interaction has already been acknowledged.")
        if time.time() - record["made"] > self.settings["answer_within"]:
            raise Refusal(404, 10062, "Unknown interaction")
        kind, data = body["type"], body.get("data") or {}
        if kind == 1 and record["kind"] != 1:
            raise bad_form("type", "INTERACTION_TYPE_INVALID", "A ping was not asked")
        if kind in (6, 7) and record["message"] is None:
            raise bad_form("type", "INTERACTION_TYPE_INVALID", "There is no message to update")
        if kind == 9 and record["kind"] == 5:
            raise bad_form("type", "INTERACTION_TYPE_INVALID", "A modal cannot follow a modal")
        if kind in (4, 7):
            self.check_content(data, [], record["message"] if kind == 7 else None)
        record.update(answer=kind, answered=time.time())
        if kind == 4:
            record["original"] = self.add_message(record["channel"], self.bot, data,
                                                  flags=(data.get("flags") or 0) & EPHEMERAL, kind=20)
        if kind == 5:
            flags = LOADING | (data.get("flags") or 0) & EPHEMERAL
            record["original"] = self.add_message(record["channel"], self.bot, {"content": "…"}, flags=flags, kind=20)
            record["original"]["content"] = ""
        if kind in (6, 7):
            record["original"] = record["message"]
        if kind == 7:
            self.change(record["message"], data)
        if kind == 9:
            record["modal"] = data
        made = record["original"]
        if made is not None and record["user"] is not None:
            made.setdefault("_for", record["user"]["username"])
        return made

    def by_webhook(self, application, token):
        record = self.by_token.get(token)
        if record is None or application != self.application_id:
            raise Refusal(404, 10015, "Unknown Webhook")
        if time.time() - record["made"] > self.settings["token_life"]:
            raise Refusal(401, 50027, "Invalid Webhook Token")
        if record["answer"] is None:
            raise Refusal(404, 10015, "Unknown Webhook")
        return record

    def follow_up(self, record, body, files):
        original = record["original"]
        if original is not None and original["flags"] & LOADING:
            return self.fill(record, body, files)  # the first follow-up is the deferred answer
        flags = (body.get("flags") or 0) & EPHEMERAL
        message = self.add_message(record["channel"], self.bot, body, files, flags=flags, kind=20)
        message["_for"] = record["user"]["username"]
        record["followups"].append(message["id"])
        return message

    def fill(self, record, body, files=()):
        original = record["original"]
        if original is None or original["id"] not in self.messages[original["channel_id"]]:
            raise Refusal(404, 10008, "Unknown Message")
        if original["flags"] & LOADING:
            self.check_content(body, files)
            original["flags"] &= ~LOADING
            self.change(original, body, files)
            original["edited_timestamp"], original["_edits"] = None, 0
            return original
        return self.change(original, body, files)

    # --- commands ------------------------------------------------------------------------------
    def set_commands(self, commands):
        if len({(c["name"], c.get("type", 1)) for c in commands}) != len(commands):
            raise Refusal(400, 50035, "Invalid Form Body")
        for index, command in enumerate(commands):
            self.check_command(command, "%d" % index)
        self.commands = [{
            "id": self.ids.next(), "application_id": self.application_id, "version": self.ids.next(),
            "default_member_permissions": None, "type": 1, "description": "", **command} for command in commands]
        return self.commands

    def check_command(self, command, where):
        if command.get("type", 1) == 1:
            if not re.fullmatch(r"[-_\w]{1,32}", command["name"]) or command["name"] != command["name"].lower():
                raise bad_form(where + ".name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
            if not command.get("description"):
                raise bad_form(where + ".description", "BASE_TYPE_REQUIRED", "This field is required")
        options = command.get("options") or []
        groups = [option for option in options if option["type"] in (1, 2)]
        if groups and len(groups) != len(options):
            raise bad_form(where + ".options", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
                           "Sub-command and sub-command group option types are mutually exclusive to all other types")
        names, optional = set(), False
        for number, option in enumerate(options):
            place = "%s.options.%d" % (where, number)
            if option["name"] in names:
                raise bad_form(place, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name already exists")
            names.add(option["name"])
            if option.get("required") and optional:
                raise bad_form(place, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                               "Required options must be placed before non-required options")
            optional = optional or not option.get("required")
            self.check_command({**option, "type": 1}, place)
