# SPDX-License-Identifier: Apache-2.0
# The Bot API itself: every method that Berth and the SDK's proof use, with its refusals and ordered faults.
import asyncio
import json

from aiohttp import web

from common.faults import Patience, break_off, next_fault
from description import Description
from entities import BadMarkup, mentioned, parse_html, typed_entities, units
from world import Refusal, World

MAX_TEXT, MAX_CAPTION, MAX_DATA, MAX_FILE = 4096, 1024, 64, 50 << 20
SERVER_FAULTS = {"error", "error_after", "drop", "drop_after", "late", "text"}


class Dropped(Exception):
    """The connection ends here without an answer."""


class Api:
    def __init__(self, world):
        self.world = world
        self.description = Description()
        self.faults, self.requests, self.violations, self.flaws = [], [], [], []
        self.patience = Patience(self.violations)
        self.poll, self.polls, self.conflicts = None, 0, 0

    # --- one request -------------------------------------------------------------------------------
    async def handle(self, request):
        token, name = request.match_info["token"], request.match_info["method"]
        method = self.description.method(name)
        if token != self.world.token:
            known = token.split(":")[0].isdigit() and ":" in token
            return self.answer(Refusal(401, "Unauthorized") if known else Refusal(404, "Not Found"))
        play = getattr(self, "do_" + method["name"], None) if method else None
        if play is None:
            self.violations.append("method %s is not played" % name)
            return self.answer(Refusal(404, "Not Found: method not found"))
        parameters, files = await self.read(request, method)
        self.requests.append({"method": method["name"], "parameters": parameters})
        fault = self.next_fault(method["name"], parameters)
        route = (method["name"], parameters.get("chat_id"))
        self.patience.came(route)
        if fault.get("kind") == "error" and fault.get("status") == 429:
            self.patience.told(route, fault.get("retry_after", 0), fault)
        try:
            return await self.play(request, method, play, parameters, files, fault)
        except Dropped:
            break_off(request)
            return web.Response(status=500)

    async def play(self, request, method, play, parameters, files, fault):
        kind = fault.get("kind")
        if kind == "drop":
            raise Dropped
        if kind == "error":
            return self.fault_answer(fault)
        problems = self.description.check_request(method, parameters)
        if problems:
            self.violations += problems
            return self.answer(Refusal(400, "Bad Request: " + "; ".join(problems)))
        if kind == "late":
            await asyncio.sleep(fault["ms"] / 1000)
        try:
            result = play(parameters, files)
            if asyncio.iscoroutine(result):
                result = await result
        except Refusal as refusal:
            return self.answer(refusal)
        if kind == "drop_after":
            raise Dropped
        if kind == "error_after":
            return self.fault_answer(fault)
        result = World.public(result)
        self.flaws += self.description.check_result(method, result)
        return web.json_response({"ok": True, "result": result})

    async def read(self, request, method):
        files = {}
        values = dict(request.query)
        if request.content_type == "application/json":
            text = await request.text()
            return {**self.description.read_form(method, values), **(json.loads(text) if text else {})}, files
        if request.content_type.startswith("multipart/") or request.content_type == "application/x-www-form-urlencoded":
            for name, part in (await request.post()).items():
                if isinstance(part, web.FileField):
                    files[name] = (part.filename, part.file.read())
                else:
                    values[name] = part
        parameters = self.description.read_form(method, values)
        for name in files:
            if "attach://" + name not in parameters.values():
                parameters[name] = "attach://" + name
        return parameters, files

    @staticmethod
    def answer(refusal):
        body = {"ok": False, "error_code": refusal.code, "description": refusal.words}
        if refusal.parameters:
            body["parameters"] = refusal.parameters
        return web.json_response(body, status=refusal.code)

    # --- faults ------------------------------------------------------------------------------------
    def next_fault(self, method, parameters):
        """{method, kind, skip, times, chat, …}: error and error_after {status, retry_after, description, text};
        drop and drop_after; late {ms}."""
        return next_fault(self.faults, lambda fault: fault["method"] in (method, "*") and
                          fault.get("chat", parameters.get("chat_id")) == parameters.get("chat_id"))

    def fault_answer(self, fault):
        status = fault.get("status", 500)
        if "text" in fault:  # a proxy's page
            return web.Response(status=status, text=fault["text"], content_type="text/html")
        words = {429: "Too Many Requests: retry after %s" % fault.get("retry_after"), 500: "Internal Server Error",
                 502: "Bad Gateway"}.get(status, "Fault")
        more = {"retry_after": fault["retry_after"]} if "retry_after" in fault else {}
        return self.answer(Refusal(status, fault.get("description", words), **more))

    # --- receiving ---------------------------------------------------------------------------------
    def do_getMe(self, parameters, files):
        return self.world.bot

    async def do_getUpdates(self, parameters, files):
        if self.world.webhook:
            raise Refusal(409, "Conflict: can't use getUpdates method while webhook is active; "
                               "use deleteWebhook to delete the webhook first")
        if self.poll is not None and not self.poll.done():
            self.poll.set_result("conflict")
            self.conflicts += 1
        self.poll = mine = asyncio.get_running_loop().create_future()
        self.polls += 1
        deadline = asyncio.get_running_loop().time() + min(parameters.get("timeout", 0), 50)
        limit = max(1, min(parameters.get("limit", 100), 100))
        allowed = parameters.get("allowed_updates") or []
        token = self.world.token
        try:
            while True:
                found = self.world.waiting(parameters.get("offset", 0))
                found = [u for u in found if not allowed or any(kind in u for kind in allowed)]
                left = deadline - asyncio.get_running_loop().time()
                if found or left <= 0:
                    return found[:limit]
                await asyncio.wait([mine], timeout=min(left, 0.02))
                if mine.done():
                    raise Refusal(409, "Conflict: terminated by other getUpdates request; "
                                       "make sure that only one bot instance is running")
                if self.world.token != token:
                    raise Refusal(401, "Unauthorized")
        finally:
            if not mine.done():
                mine.set_result("answered")

    def do_setWebhook(self, parameters, files):
        if not parameters["url"]:
            return self.do_deleteWebhook(parameters, files)
        secret = parameters.get("secret_token", "")
        if not all(c.isalnum() or c in "_-" for c in secret) or len(secret) > 256:
            raise Refusal(400, "Bad Request: secret token contains unallowed characters")
        self.world.webhook = dict(parameters)
        return True

    def do_deleteWebhook(self, parameters, files):
        self.world.webhook = None
        if parameters.get("drop_pending_updates"):
            self.world.updates = []
        return True

    def do_getWebhookInfo(self, parameters, files):
        hook = self.world.webhook or {}
        info = {"url": hook.get("url", ""), "has_custom_certificate": False,
                "pending_update_count": len(self.world.updates)}
        if hook:
            info["max_connections"] = hook.get("max_connections", 40)
        if self.world.webhook_error:
            info.update(last_error_date=self.world.webhook_error[0], last_error_message=self.world.webhook_error[1])
        return info

    # --- sending -----------------------------------------------------------------------------------
    def formatted(self, parameters, name, limit):
        """(text, entities) of a text or caption."""
        source, mode = parameters.get(name, ""), parameters.get("parse_mode", "")
        try:
            if mode.lower() == "html":
                text, entities = parse_html(source)
            elif mode == "":
                text, entities = source, []
            else:
                raise Refusal(400, "Bad Request: unsupported parse_mode")
        except BadMarkup as bad:
            raise Refusal(400, "Bad Request: %s" % bad) from None
        if name == "text" and not text.strip():
            raise Refusal(400, "Bad Request: message text is empty")
        if units(text) > limit:
            raise Refusal(400, "Bad Request: message %sis too long" % ("caption " if name == "caption" else ""))
        found = [e for e in typed_entities(text)
                 if not any(o["offset"] <= e["offset"] < o["offset"] + o["length"] for o in entities)]
        return text, sorted(entities + found, key=lambda e: (e["offset"], -e["length"]))

    @staticmethod
    def keyboard(parameters):
        markup = parameters.get("reply_markup")
        if markup is None:
            return None
        for row in markup.get("inline_keyboard", []):
            for button in row:
                if not button["text"]:
                    raise Refusal(400, "Bad Request: can't parse inline keyboard button: Text buttons are unallowed")
                if not 1 <= len(button.get("callback_data", "x").encode()) <= MAX_DATA:
                    raise Refusal(400, "Bad Request: BUTTON_DATA_INVALID")
                if button.get("style", "primary") not in ("primary", "success", "danger"):
                    raise Refusal(400, "Bad Request: unknown button style")
        rows = [row for row in markup.get("inline_keyboard", []) if row]
        return {"inline_keyboard": rows} if rows else None

    def start_message(self, parameters):
        chat = self.world.place(parameters["chat_id"], parameters.get("message_thread_id"))
        content = {}
        reply = parameters.get("reply_parameters")
        if reply:
            answered = self.world.messages.get(chat["id"], {}).get(reply["message_id"])
            if answered is None and not reply.get("allow_sending_without_reply"):
                raise Refusal(400, "Bad Request: message to be replied not found")
            if answered is not None:
                content["reply_to_message"] = {k: v for k, v in answered.items() if k != "reply_to_message"}
        return chat, content

    def finish_message(self, parameters, chat, content):
        markup = self.keyboard(parameters)
        if markup:
            content["reply_markup"] = markup
        bot = {key: self.world.bot[key] for key in ("id", "is_bot", "first_name", "username")}
        return self.world.add_message(chat, bot, parameters.get("message_thread_id"), **content)

    def do_sendMessage(self, parameters, files):
        chat, content = self.start_message(parameters)
        text, entities = self.formatted(parameters, "text", MAX_TEXT)
        content["text"] = text
        if entities:
            content["entities"] = entities
        message = self.finish_message(parameters, chat, content)
        message["_notified"] = mentioned(text, entities)
        return message

    def do_sendDocument(self, parameters, files):
        chat, content = self.start_message(parameters)
        name = parameters["document"].removeprefix("attach://")
        if name not in files:
            raise Refusal(400, "Bad Request: wrong file identifier/HTTP URL specified")
        filename, data = files[name]
        if not data:
            raise Refusal(400, "Bad Request: file must be non-empty")
        if len(data) > MAX_FILE:
            raise Refusal(413, "Request Entity Too Large")
        caption, entities = self.formatted(parameters, "caption", MAX_CAPTION)
        content["document"] = {"file_id": "BQ%d" % self.world.next_message, "file_unique_id": "U%d" % self.world.next_message,
                               "file_name": filename, "file_size": len(data)}
        if caption:
            content["caption"] = caption
        if entities:
            content["caption_entities"] = entities
        message = self.finish_message(parameters, chat, content)
        message["_data"] = data.decode("utf-8", "replace")
        return message

    def do_editMessageText(self, parameters, files):
        chat = self.world.place(parameters.get("chat_id"))
        message = self.world.message(chat, parameters.get("message_id"), "edit")
        if "document" in message:
            raise Refusal(400, "Bad Request: there is no text in the message to edit")
        text, entities = self.formatted(parameters, "text", MAX_TEXT)
        self.world.edit(message, text, entities, self.keyboard(parameters))
        return message

    def do_editMessageReplyMarkup(self, parameters, files):
        chat = self.world.place(parameters.get("chat_id"))
        message = self.world.message(chat, parameters.get("message_id"), "edit")
        self.world.edit(message, message.get("text"), message.get("entities", []), self.keyboard(parameters))
        return message

    def do_deleteMessage(self, parameters, files):
        chat = self.world.place(parameters["chat_id"])
        self.world.message(chat, parameters["message_id"], "delete")
        del self.world.messages[chat["id"]][parameters["message_id"]]
        return True

    def do_answerCallbackQuery(self, parameters, files):
        query = self.world.queries.get(parameters["callback_query_id"])
        if query is None or query["answer"] is not None:
            raise Refusal(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        if units(parameters.get("text", "")) > 200:
            raise Refusal(400, "Bad Request: MESSAGE_TOO_LONG")
        query["answer"] = {"text": parameters.get("text", ""), "alert": parameters.get("show_alert", False)}
        return True

    def do_sendChatAction(self, parameters, files):
        self.world.place(parameters["chat_id"], parameters.get("message_thread_id"))
        return True

    def do_setMyCommands(self, parameters, files):
        for command in parameters["commands"]:
            name = command["command"]
            if not (1 <= len(name) <= 32 and name.replace("_", "").isalnum() and name == name.lower()):
                raise Refusal(400, "Bad Request: BOT_COMMAND_INVALID")
            if not 1 <= len(command["description"]) <= 256:
                raise Refusal(400, "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
        if len(parameters["commands"]) > 100:
            raise Refusal(400, "Bad Request: BOT_COMMANDS_TOO_MUCH")
        self.world.commands = parameters["commands"]
        return True

    def do_getMyCommands(self, parameters, files):
        return self.world.commands

    def do_getChat(self, parameters, files):
        chat = self.world.place(parameters["chat_id"])
        return {**chat, "accent_color_id": 0, "max_reaction_count": 11,
                "accepted_gift_types": {"unlimited_gifts": False, "limited_gifts": False, "unique_gifts": False,
                                        "premium_subscription": False, "gifts_from_channels": False}}
