# SPDX-License-Identifier: Apache-2.0
# The fake's other side: acting as a person, looking at what stands in a chat, ordering faults, posting webhooks.
import hashlib
import hmac
import json
import time

from aiohttp import web

from common.control import WebhookControl


class Control(WebhookControl):
    posts = ("say", "click", "raw", "hook", "faults", "token", "block", "silence", "template", "redeliver", "deliver", "status")
    looks = {"chat/{person}": "look", "state": "state"}

    def check(self, payload):
        self.api.flaws += self.api.description.check_webhook(payload)

    # --- acting as a person ------------------------------------------------------------------------
    async def say(self, request):
        """{person, name, text, answers, forwarded, count, from}: `{n}` in the text counts from `from`."""
        order = await request.json()
        self.world.person(order["person"], order.get("name"))
        ids = []
        for number in range(order.get("count", 1)):
            message = {"type": "text", "text": {"body": order["text"].replace("{n}", str(order.get("from", 0) + number))}}
            if order.get("answers"):
                message["context"] = {"from": "15550783881", "id": order["answers"]}
            if order.get("forwarded"):
                message["context"] = {"forwarded": True}
            payload, message = self.world.arrive(order["person"], message)
            self.check(payload)
            ids.append(message["id"])
        return web.json_response({"id": ids[0], "ids": ids})

    async def click(self, request):
        """{person, id, button}: presses a button of the message `id`; 404 where there is none."""
        order = await request.json()
        shown = [m for m in self.world.messages.get(order["person"], []) if m["id"] == order["id"]]
        token = shown[0].get("_ids", {}).get(order["button"]) if shown else None
        if token is None:
            return web.json_response({"error": "no such button"}, status=404)
        kind = shown[0]["_kind"]
        pressed = {"type": "interactive", "interactive": {"type": kind, kind: {"id": token, "title": order["button"]}}}
        if kind == "button":
            pressed = {"type": "button", "button": {"payload": token, "text": order["button"]}}
        payload, message = self.world.arrive(order["person"], {**pressed, "context": {"from": "15550783881", "id": order["id"]}})
        self.check(payload)
        return web.json_response({"id": message["id"], "token": token})

    async def raw(self, request):
        """{person, message}: any other message, as it is (media, reactions, presses of a template's button)."""
        order = await request.json()
        payload, message = self.world.arrive(order["person"], order["message"])
        self.check(payload)
        return web.json_response({"id": message["id"]})

    async def status(self, request):
        """{person, id, status}: Meta tells what became of a message; of one that `failed` with {code, title}."""
        order = await request.json()
        self.check(self.world.tell(order["person"], order["id"], order.get("status", "delivered"), order))
        return web.json_response({})

    async def silence(self, request):
        """{person, hours}: the person last spoke so long ago."""
        order = await request.json()
        self.world.person(order["person"])["spoke"] = time.time() - 3600 * order["hours"]
        return web.json_response({})

    async def block(self, request):
        order = await request.json()
        self.world.person(order["person"])["blocked"] = order.get("blocked", True)
        return web.json_response({})

    async def template(self, request):
        """{name, language, buttons}: a template with one text in its body and quick replies, approved by Meta."""
        order = await request.json()
        self.world.templates[order["name"]] = {"language": order["language"], "buttons": order.get("buttons", [])}
        return web.json_response({})

    # --- webhooks ----------------------------------------------------------------------------------
    async def redeliver(self, request):
        """{count}: the last webhooks that were taken are posted again, as Meta does when an answer got lost."""
        order = await request.json()
        again = self.world.delivered[-order["count"]:]
        self.world.pending = again + self.world.pending
        return web.json_response({"count": len(again)})

    async def hook(self, request):
        """{url, verify_token}: registers the webhook, with Meta's challenge; answers its status and body."""
        order = await request.json()
        query = {"hub.mode": "subscribe", "hub.verify_token": order["verify_token"], "hub.challenge": "1158201444"}
        status, body = await self.caller.send("GET", order["url"], params=query)
        if status == 200 and body == "1158201444":
            self.world.webhook = order["url"]
        return web.json_response({"status": status, "body": body})

    async def deliver(self, request):
        """{body, signature}: posts to the webhook what a forger would. `signature`: none, wrong, other (of another body),
        right."""
        order = await request.json()
        body = order["body"].encode()
        how = order["signature"]
        sign = self.sign(body + (b" " if how == "other" else b""))
        if how == "wrong":
            sign = sign[:-1] + ("0" if sign[-1] != "0" else "1")
        status, text = await self.post(body, {} if how == "none" else {"X-Hub-Signature-256": sign})
        return web.json_response({"status": status, "body": text})

    def sign(self, body):
        return "sha256=" + hmac.new(self.world.app_secret.encode(), body, hashlib.sha256).hexdigest()

    async def post(self, body, headers):
        return await self.caller.send("POST", self.world.webhook, data=body, headers={"Content-Type": "application/json", **headers})

    async def deliver_next(self):
        if not self.world.webhook or not self.world.pending:
            return self.idle
        payload = self.world.pending[0]
        # Meta escapes what is not ASCII: the signature is over these bytes.
        body = json.dumps(payload).encode()
        status, _ = await self.post(body, {"X-Hub-Signature-256": self.sign(body)})
        if status != 200:
            return self.retry
        self.world.pending.remove(payload)
        self.world.delivered.append(payload)
        return 0

    # --- looking -----------------------------------------------------------------------------------
    async def look(self, request):
        """What stands in the chat with a person now, in order."""
        seen = [{key: value for key, value in message.items() if not key.startswith("_")}
                for message in self.world.messages.get(request.match_info["person"], [])]
        return web.json_response({"messages": seen})

    async def state(self, request):
        return web.json_response({
            "pending": len(self.world.pending), "delivered": len(self.world.delivered), "requests": self.api.requests[-2000:],
            "violations": self.api.violations, "flaws": self.api.flaws, "faults": self.api.faults, "webhook": self.world.webhook})
