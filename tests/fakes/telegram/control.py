# SPDX-License-Identifier: Apache-2.0
# The fake's other side: acting as a person, looking at what stands in a chat, and ordering faults.
import time

from aiohttp import web

from common.control import WebhookControl
from entities import typed_entities
from world import World


class Control(WebhookControl):
    posts = ("chat", "say", "click", "change", "faults", "token", "block", "upgrade", "remove", "redeliver", "deliver", "forget")
    looks = {"chat/{id}": "look", "state": "state", "query/{id}": "query", "sent": "sent"}

    # --- acting as a person ------------------------------------------------------------------------
    async def chat(self, request):
        """{id, title, forum, topics}: makes a group (-100… a supergroup) where the bot is a member."""
        order = await request.json()
        chat = self.world.make_group(order["id"], order.get("title", "group"), order.get("forum", False), order.get("topics", ()))
        return web.json_response(World.public(chat))

    async def say(self, request):
        """{chat, person, text, thread, reply_to, kind, more, count, from}: `{n}` in the text counts from `from`. Chatter
        of a group that is not for the bot is not delivered to it (privacy mode) unless `deliver` says so."""
        order = await request.json()
        chat = self.world.chat(order["chat"])
        if chat is None:
            return web.json_response({"error": "no such chat"}, status=404)
        user = self.world.person(order["person"])
        ids = []
        for number in range(order.get("count", 1)):
            text = order["text"].replace("{n}", str(order.get("from", 0) + number))
            message = self.world.say(chat, user, text, order.get("thread"), order.get("reply_to"), **order.get("more", {}))
            if order.get("deliver", self.is_for_bot(chat, message)):
                self.world.push(order.get("kind", "message"), message)
            ids.append(message["message_id"])
        return web.json_response({"message": ids[0], "messages": ids, "update": self.world.next_update - 1})

    def is_for_bot(self, chat, message):
        if chat["type"] == "private":
            return True
        if message.get("reply_to_message", {}).get("from", {}).get("id") == self.world.bot["id"]:
            return True
        words = [message["text"][e["offset"]:e["offset"] + e["length"]] for e in typed_entities(message["text"])]
        name = "@" + self.world.bot["username"]
        return any(w == name or (w.startswith("/") and ("@" not in w or w.endswith(name))) for w in words)

    async def click(self, request):
        """{chat, person, message, button, count}: `button` is a label or callback_data; 404 where it is not there any
        more; `data` sends that whatever stands there."""
        order = await request.json()
        message = self.world.messages.get(order["chat"], {}).get(order["message"])
        if message is None:
            return web.json_response({"error": "no such message"}, status=404)
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        found = [b["callback_data"] for row in rows for b in row if order.get("button") in (b["text"], b.get("callback_data"))]
        data = order.get("data") or (found[0] if found else None)
        if data is None:
            return web.json_response({"error": "no such button"}, status=404)
        ids = [self.world.push_query(self.world.person(order["person"]), message, data) for _ in range(order.get("count", 1))]
        return web.json_response({"query": ids[0], "queries": ids, "data": data})

    async def change(self, request):
        """{chat, message, text}: a person edits what was said."""
        order = await request.json()
        message = self.world.messages[order["chat"]][order["message"]]
        message.update(text=order["text"], edit_date=int(time.time()), entities=typed_entities(order["text"]))
        self.world.push("edited_message", message)
        return web.json_response({})

    async def block(self, request):
        """{chat, blocked}: a person blocks the bot, or a group removes it."""
        order = await request.json()
        self.world.chat(order["chat"])["_blocked"] = order.get("blocked", True)
        return web.json_response({})

    async def upgrade(self, request):
        """{chat, to}: a group becomes a supergroup of another id."""
        order = await request.json()
        old = self.world.chats[order["chat"]]
        self.world.make_group(order["to"], old["title"])
        old["_moved"] = order["to"]
        return web.json_response({})

    async def remove(self, request):
        """{chat, message}: an administrator deletes a message."""
        order = await request.json()
        del self.world.messages[order["chat"]][order["message"]]
        return web.json_response({})

    # --- faults ------------------------------------------------------------------------------------
    async def redeliver(self, request):
        """{count}: the last updates that were confirmed wait again, as after an answer that got lost."""
        order = await request.json()
        again = self.world.confirmed[-order["count"]:]
        self.world.updates = sorted([(time.time(), u) for u in again] + self.world.updates, key=lambda one: one[1]["update_id"])
        return web.json_response({"updates": [u["update_id"] for u in again]})

    async def deliver(self, request):
        """{update, secret, kind}: posts to the webhook at once what a forger would; (status, body)."""
        order = await request.json()
        status, body = await self.post(self.world.webhook["url"], order.get("update", {}), order.get("secret"))
        return web.json_response({"status": status, "body": body})

    async def forget(self, request):
        """Requests, violations and flaws so far."""
        self.api.requests.clear()
        self.world.confirmed.clear()
        return web.json_response({})

    # --- the webhook -------------------------------------------------------------------------------
    async def post(self, url, update, secret):
        headers = {} if secret is None else {"X-Telegram-Bot-Api-Secret-Token": secret}
        return await self.caller.send("POST", url, json=update, headers=headers)

    async def deliver_next(self):
        hook = self.world.webhook
        if not hook or not self.world.updates:
            return self.idle
        _, update = self.world.updates[0]
        allowed = hook.get("allowed_updates") or []
        if not allowed or any(kind in update for kind in allowed):
            status, body = await self.post(hook["url"], update, hook.get("secret_token") or None)
            if not 200 <= status < 300:
                self.world.webhook_error = (int(time.time()), "Wrong response from the webhook: %s %s" % (status, body[:80]))
                return self.retry
        self.world.waiting(update["update_id"] + 1)
        return 0

    # --- looking -----------------------------------------------------------------------------------
    async def look(self, request):
        """What stands in a chat now, in order."""
        seen = []
        for message in self.world.messages.get(int(request.match_info["id"]), {}).values():
            rows = message.get("reply_markup", {}).get("inline_keyboard", [])
            seen.append({
                "message": message["message_id"], "person": message["from"]["id"], "bot": message["from"]["is_bot"],
                "text": message.get("text", message.get("caption", "")), "thread": message.get("message_thread_id"),
                "entities": message.get("entities", message.get("caption_entities", [])), "edits": message["_edits"],
                "buttons": [b["text"] for row in rows for b in row], "answers": message.get("reply_to_message", {}).get("message_id"),
                "file": {"name": message["document"]["file_name"], "text": message["_data"]} if "document" in message else None,
                "notified": message.get("_notified", [])})
        return web.json_response({"messages": seen})

    async def sent(self, request):
        """How often each text was posted by the bot, over all chats (the soak's count)."""
        counts = {}
        for chat in self.world.messages.values():
            for message in chat.values():
                if message["from"]["id"] == self.world.bot["id"]:
                    counts.setdefault(str(message["chat"]["id"]), []).append(message.get("text", ""))
        return web.json_response(counts)

    async def query(self, request):
        return web.json_response(self.world.queries[request.match_info["id"]])

    async def state(self, request):
        waiting = [u["update_id"] for _, u in self.world.updates]
        return web.json_response({
            "waiting": waiting, "polls": self.api.polls, "conflicts": self.api.conflicts, "webhook": self.world.webhook, "commands": self.world.commands,
            "requests": self.api.requests[-2000:], "violations": self.api.violations, "flaws": self.api.flaws,
            "faults": self.api.faults, "bot": self.world.bot, "queries": self.world.queries})
