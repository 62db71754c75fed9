# SPDX-License-Identifier: Apache-2.0
# The Web API's methods, and the faults that befall their calls.
import asyncio
import json
import time

from aiohttp import web

import blocks
from common.faults import Patience, break_off
from description import Description
from world import APP, BOT_ID, BOT_USER, TEAM, Refusal

LONGEST_TEXT = 40000
COMMON = ("channel", "text", "blocks", "thread_ts", "link_names", "parse", "attachments", "as_user")
# Arguments by method: name -> type. A method's calls with others are refused.
STRINGS = {name: str for name in ("channel", "text", "thread_ts", "ts", "user", "parse", "cursor", "filename", "channel_id",
                                  "initial_comment", "trigger_id", "oldest", "latest", "username", "icon_emoji", "alt_txt",
                                  "snippet_type", "team_id", "bot")}
OTHERS = {"blocks": list, "metadata": dict, "unfurl_links": bool, "unfurl_media": bool, "mrkdwn": bool, "link_names": bool,
          "reply_broadcast": bool, "as_user": bool, "limit": int, "inclusive": bool, "include_all_metadata": bool, "length": int,
          "files": list, "view": dict, "attachments": list}
METHODS = {
    "auth.test": (),
    "apps.connections.open": (),
    "bots.info": ("bot", "team_id"),
    "users.info": ("user", "include_locale"),
    "chat.postMessage": COMMON + ("metadata", "unfurl_links", "unfurl_media", "mrkdwn", "reply_broadcast", "username", "icon_emoji"),
    "chat.postEphemeral": COMMON + ("user", "username", "icon_emoji"),
    "chat.update": COMMON + ("ts", "metadata", "reply_broadcast"),
    "conversations.history": ("channel", "cursor", "limit", "oldest", "latest", "inclusive", "include_all_metadata"),
    "conversations.replies": ("channel", "ts", "cursor", "limit", "oldest", "latest", "inclusive", "include_all_metadata"),
    "files.getUploadURLExternal": ("filename", "length", "alt_txt", "snippet_type"),
    "files.completeUploadExternal": ("files", "channel_id", "initial_comment", "thread_ts", "blocks"),
    "views.open": ("trigger_id", "view"),
}
# Methods that read no JSON body.
FORM_ONLY = ("auth.test", "apps.connections.open", "conversations.history", "conversations.replies", "files.getUploadURLExternal",
             "bots.info", "users.info")


def typed(name, value, from_form):
    kind = STRINGS.get(name) or OTHERS.get(name)
    if from_form and kind is bool:
        return value in ("1", "true", "True")
    if from_form and kind is int:
        if not value.isdigit():
            raise Refusal("invalid_arguments")
        return int(value)
    if from_form and kind in (list, dict):
        value = json.loads(value)
    if kind is not None and (not isinstance(value, kind) or kind is int and isinstance(value, bool)):
        raise Refusal("invalid_arguments", response_metadata={"messages": ["[ERROR] %s must be %s" % (name, kind.__name__)]})
    return value


class Api:
    def __init__(self, world, delivery):
        self.world, self.delivery = world, delivery
        self.description = Description()
        self.patience = Patience(world.violations)

    def routes(self):
        return [web.route("*", "/api/{method}", self.handle), web.post("/upload/{id}", self.upload),
                web.post("/respond/{kind}/{id}", self.respond)]

    async def handle(self, request):
        method = request.match_info["method"]
        self.world.calls.append(method)
        fault = self.world.fault(method)
        kind = fault.get("kind")
        route = (method, await self.channel_of(request))
        self.patience.came(route)
        if kind == "429":
            self.patience.told(route, fault.get("retry_after", 1), fault)
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429,
                                     headers={"Retry-After": str(fault.get("retry_after", 1))})
        if kind == "500_before":
            return web.Response(status=fault.get("status", 500))
        if kind == "error":
            return web.json_response({"ok": False, "error": fault["error"]})
        if kind == "drop_before":
            break_off(request)
            return web.Response()
        answer = await self.answer(method, request)
        self.world.flaws += self.description.check_answer(method, answer)
        if kind == "late":
            await asyncio.sleep(fault.get("delay", 1.0))
        if kind == "500_after":
            return web.Response(status=fault.get("status", 500))
        if kind == "drop_after":
            break_off(request)
        return web.json_response(answer)

    @staticmethod
    async def channel_of(request):
        """What the call is about, where it says so; its limits are per channel."""
        body = await request.json() if request.content_type == "application/json" else await request.post()
        return body.get("channel") or body.get("channel_id") or request.query.get("channel", "")

    async def answer(self, method, request):
        try:
            arguments = await self.arguments(method, request)
            self.world.violations += self.description.check_request(method, arguments)
            return {"ok": True, **getattr(self, method.replace(".", "_"))(arguments)}
        except Refusal as refusal:
            if refusal.code in ("invalid_blocks", "invalid_blocks_format", "invalid_arguments", "unknown_field"):
                self.world.flaws.append("%s: %s %s" % (method, refusal.code, refusal.more))
            return {"ok": False, "error": refusal.code, **refusal.more}

    async def arguments(self, method, request):
        if method not in METHODS:
            raise Refusal("unknown_method")
        body, from_form = dict(request.query), True
        if request.method == "POST":
            if request.content_type == "application/json":
                if method in FORM_ONLY:
                    raise Refusal("json_not_supported")
                body, from_form = await request.json(), False
            elif request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
                body.update(await request.post())
            elif await request.read():
                raise Refusal("invalid_post_type")
        token = body.pop("token", None) or request.headers.get("Authorization", "").removeprefix("Bearer ")
        right = self.world.app_token if method == "apps.connections.open" else self.world.bot_token
        if not token:
            raise Refusal("not_authed")
        if token != right:
            wrong_kind = token in (self.world.app_token, self.world.bot_token)
            raise Refusal("not_allowed_token_type" if wrong_kind else "invalid_auth")
        if right.startswith("revoked"):
            raise Refusal("token_revoked")
        for name in body:
            if name not in METHODS[method] + ("team_id",):  # Slack's libraries add the team everywhere
                raise Refusal("unknown_field", field=name)
        return {name: typed(name, value, from_form) for name, value in body.items()}

    # --- methods -------------------------------------------------------------------------------
    def auth_test(self, _):
        return {"url": "https://berth.slack.com/", "team": "Berth", "user": "berth", "team_id": TEAM, "user_id": BOT_USER,
                "bot_id": BOT_ID, "is_enterprise_install": False}

    def apps_connections_open(self, _):
        return {"url": self.delivery.new_ticket()}

    def bots_info(self, _):
        return {"bot": {"id": BOT_ID, "deleted": False, "name": "berth", "app_id": APP, "user_id": BOT_USER, "updated": 1}}

    def users_info(self, arguments):
        return {"user": {"id": arguments["user"], "team_id": TEAM, "name": self.world.person(arguments["user"])}}

    def content(self, arguments):
        out = {"text": arguments.get("text", "")}
        if len(out["text"]) > LONGEST_TEXT:
            raise Refusal("msg_too_long")
        if arguments.get("blocks"):
            blocks.check(arguments["blocks"])
            out["blocks"] = blocks.strip(arguments["blocks"])
        if not out["text"] and not out.get("blocks"):
            raise Refusal("no_text")
        return out

    def chat_postMessage(self, arguments):
        channel = self.world.writable(arguments.get("channel"))
        fields = {"user": BOT_USER, "bot_id": BOT_ID, "app_id": APP, "team": TEAM, **self.content(arguments)}
        thread = arguments.get("thread_ts")
        if thread:
            if thread not in channel["messages"]:
                raise Refusal("thread_not_found")
            fields["thread_ts"] = thread
        if "metadata" in arguments:
            if not isinstance(arguments["metadata"].get("event_type"), str) or not isinstance(arguments["metadata"].get("event_payload"), dict):
                raise Refusal("invalid_metadata_format")
            fields["metadata"] = arguments["metadata"]
        message = self.world.post(channel, fields)
        return {"channel": channel["id"], "ts": message["ts"], "message": self.public(message, False)}

    def chat_postEphemeral(self, arguments):
        channel = self.world.writable(arguments.get("channel"))
        if arguments.get("user") not in self.world.people:
            raise Refusal("user_not_in_channel")
        message = {"ts": self.world.ts(), "user": arguments["user"], "thread_ts": arguments.get("thread_ts", ""), **self.content(arguments)}
        channel["ephemeral"].append(message)
        return {"message_ts": message["ts"]}

    def chat_update(self, arguments):
        channel = self.world.writable(arguments.get("channel"))
        message = channel["messages"].get(arguments.get("ts"))
        if message is None:
            raise Refusal("message_not_found")
        if message.get("bot_id") != BOT_ID:
            raise Refusal("cant_update_message")
        content = self.content(arguments)
        message.pop("blocks", None)
        message.update(content, edits=message.get("edits", 0) + 1, edited_at=time.time())
        return {"channel": channel["id"], "ts": message["ts"], "text": message["text"], "message": self.public(message, False)}

    def public(self, message, with_metadata):
        return {name: value for name, value in message.items() if name not in ("edits", "edited_at") and (name != "metadata" or with_metadata)}

    def page(self, messages, arguments, newest_first):
        limit = min(arguments.get("limit", 100), 999)
        found = sorted((m for m in messages if float(m["ts"]) > float(arguments.get("oldest") or 0)),
                       key=lambda m: m["ts"], reverse=newest_first)
        start = int(arguments.get("cursor") or 0)
        more = start + limit < len(found)
        return {"messages": [self.public(m, arguments.get("include_all_metadata", False)) for m in found[start:start + limit]],
                "has_more": more, "pin_count": 0, "channel_actions_ts": None, "channel_actions_count": 0,
                "response_metadata": {"next_cursor": str(start + limit) if more else ""}}

    def readable(self, arguments):
        channel = self.world.channel(arguments.get("channel"))
        if channel is None:
            raise Refusal("channel_not_found")
        return channel

    def conversations_history(self, arguments):
        channel = self.readable(arguments)
        tops = [m for m in channel["messages"].values() if m.get("thread_ts", m["ts"]) == m["ts"]]
        return self.page(tops, arguments, True)

    def conversations_replies(self, arguments):
        channel = self.readable(arguments)
        thread = arguments.get("ts")
        if thread not in channel["messages"]:
            raise Refusal("thread_not_found")
        found = [m for m in channel["messages"].values() if m["ts"] == thread or m.get("thread_ts") == thread]
        return self.page(found, arguments, False)

    def files_getUploadURLExternal(self, arguments):
        if not arguments.get("filename") or arguments.get("length", 0) < 1:
            raise Refusal("invalid_arguments")
        name = "F%010d" % self.world.number()
        self.world.files[name] = {"name": arguments["filename"], "length": arguments["length"], "bytes": None, "shared": False}
        return {"upload_url": self.world.url + "/upload/" + name, "file_id": name}

    async def upload(self, request):
        file = self.world.files.get(request.match_info["id"])
        if request.content_type == "multipart/form-data":
            body = next((part.file.read() for part in (await request.post()).values() if hasattr(part, "file")), b"")
        else:
            body = await request.read()
        if file is None or len(body) != file["length"]:
            return web.Response(status=400)
        file["bytes"] = body
        return web.Response(text="OK - %d" % len(body))

    def files_completeUploadExternal(self, arguments):
        channel = self.world.writable(arguments.get("channel_id"))
        shared = []
        for one in arguments.get("files", []):
            file = self.world.files.get(one.get("id"))
            if file is None or file["bytes"] is None or set(one) - {"id", "title"}:
                raise Refusal("file_not_found")
            shared.append({"id": one["id"], "name": file["name"], "title": one.get("title", file["name"]), "size": file["length"]})
        if not shared:
            raise Refusal("no_file_data")
        fields = {"user": BOT_USER, "bot_id": BOT_ID, "text": arguments.get("initial_comment", ""), "files": shared}
        if arguments.get("thread_ts"):
            if arguments["thread_ts"] not in channel["messages"]:
                raise Refusal("thread_not_found")
            fields["thread_ts"] = arguments["thread_ts"]
        self.world.post(channel, fields)
        return {"files": shared}

    def views_open(self, arguments):
        user, until = self.world.triggers.pop(arguments.get("trigger_id"), (None, 0))
        if user is None:
            raise Refusal("invalid_trigger_id")
        if time.monotonic() > until:
            raise Refusal("expired_trigger_id")
        blocks.check_view(arguments["view"])
        name = "V%010d" % self.world.number()
        self.world.views[name] = {"view": arguments["view"], "user": user, "open": True}
        return {"view": {"id": name, "team_id": TEAM, **arguments["view"]}}

    async def respond(self, request):
        """A response_url: five answers."""
        handle = self.world.handles.get(request.path)
        if handle is None or handle["left"] == 0:
            return web.Response(status=404, text="Expired URL")
        self.world.calls.append("response_url")
        fault = self.world.fault("response_url")
        if fault.get("kind") in ("429", "500_before", "drop_before"):
            if fault["kind"] == "drop_before":
                break_off(request)
            return web.Response(status=429 if fault["kind"] == "429" else 500, headers={"Retry-After": "1"})
        body = await request.json()
        content = {"text": body.get("text", "")}
        if body.get("blocks"):
            try:
                blocks.check(body["blocks"])
            except Refusal as refusal:
                self.world.flaws.append("response_url: %s %s" % (refusal.code, refusal.more))
                return web.Response(status=400, text="invalid_payload")
            content["blocks"] = blocks.strip(body["blocks"])
        handle["left"] -= 1
        channel = self.world.channel(handle["channel"])
        if body.get("response_type") == "ephemeral":
            channel["ephemeral"].append({"ts": self.world.ts(), "user": handle["user"], "thread_ts": body.get("thread_ts", ""), **content})
        else:
            self.world.post(channel, {"user": BOT_USER, "bot_id": BOT_ID, **content})
        return web.json_response({"ok": True})
