# SPDX-License-Identifier: Apache-2.0
# The fake's other side: acting as a person, looking at what stands in a channel, and ordering faults.
import json
import time

from aiohttp import web

from common.control import Control as Common
from world import EPHEMERAL, LOADING, Refusal, TEXT

SEVERAL = 1000  # messages of one order


class Control(Common):
    posts = ("person", "message", "room", "command", "click", "submit", "faults", "settings", "token", "access", "ping", "delete",
             "sign", "sign_command")
    looks = {"channel/{place}": "channel", "state": "state", "interaction/{id}": "look_at_interaction"}

    def __init__(self, world, api, gateway):
        super().__init__(world, api)
        self.gateway = gateway

    def routes(self):
        return super().routes() + [web.post("/_fake/gateway", self.order)]

    # --- acting as a person ------------------------------------------------------------------------
    async def person(self, request):
        """{name}: somebody's id before they say anything."""
        return web.json_response({"id": self.world.person((await request.json())["name"])["id"]})

    async def room(self, request):
        """{name}: a new channel."""
        return web.json_response({"id": self.world.add_channel(TEXT, (await request.json())["name"])["id"]})

    async def message(self, request):
        """{person, channel, text, mention, bot, answers, count}: said in a channel; `mention` puts the bot's before it."""
        order = await request.json()
        channel = self.world.place(order["channel"])
        user = self.world.person(order["person"], bot=order.get("bot", False))
        ids = []
        for number in range(min(order.get("count", 1), SEVERAL)):
            text = order["text"].replace("{n}", str(order.get("from", 0) + number))
            if order.get("mention"):
                text = "<@%s> %s" % (self.world.bot["id"], text)
            body = {"content": text}
            if order.get("answers"):
                body["message_reference"] = {"message_id": order["answers"]}
            said = self.world.add_message(channel, user, body, kind=order.get("type", 0))
            self.gateway.message("MESSAGE_CREATE", said)
            ids.append(said["id"])
        return web.json_response({"id": ids[0], "ids": ids, "channel": channel["id"], "person": user["id"]})

    async def command(self, request):
        """{person, channel, name, options}: a slash command as the client sends it, by what is registered."""
        order = await request.json()
        channel = self.world.place(order["channel"])
        user = self.world.person(order["person"])
        command = next((c for c in self.world.commands if c["name"] == order.get("name", "berth")), None)
        if command is None:
            return web.json_response({"error": "no such command is registered"}, status=404)
        options = order.get("options", [])
        flaw = self.options_flaw(command.get("options") or [], options)
        if flaw:
            return web.json_response({"error": flaw}, status=400)
        data = {"id": command["id"], "name": command["name"], "type": 1, "options": options}
        return await self.send(self.world.interaction(2, user, channel, data))

    def options_flaw(self, known, given):
        by_name = {option["name"]: option for option in known}
        for option in given:
            if option["name"] not in by_name or by_name[option["name"]]["type"] != option["type"]:
                return "option %s is not registered so" % option["name"]
            if option["type"] == 1:
                flaw = self.options_flaw(by_name[option["name"]].get("options") or [], option.get("options", []))
                if flaw:
                    return flaw
        for option in known:
            if option.get("required") and option["name"] not in [one["name"] for one in given]:
                return "option %s is required" % option["name"]
        return None

    async def click(self, request):
        """{person, channel, message, button}: `button` is its label or custom id; 404 where it is not there any more."""
        order = await request.json()
        channel = self.world.place(order["channel"])
        user = self.world.person(order["person"])
        message = self.world.messages[channel["id"]].get(order["message"])
        button = self.world.button(message, order["button"]) if message else None
        if button is None or button.get("disabled"):
            return web.json_response({"error": "no such button"}, status=404)
        data = {"component_type": 2, "custom_id": button["custom_id"], "id": button["id"]}
        return await self.send(self.world.interaction(3, user, channel, data, message))

    async def submit(self, request):
        """{interaction, values}: fills in the modal that was shown in answer to an interaction."""
        order = await request.json()
        record = self.world.interactions[order["interaction"]]
        modal = record["modal"]
        if modal is None:
            return web.json_response({"error": "no modal was shown"}, status=404)
        components, number = [], 0
        for row in modal["components"]:
            number += 2
            item = row["component"] if row["type"] == 18 else row["components"][0]
            value = order["values"].get(item["custom_id"], "")
            if len(value) > (item.get("max_length") or 4000) or (item.get("required", True) and not value):
                return web.json_response({"error": "the modal does not take that"}, status=400)
            filled = {"type": 4, "id": number, "custom_id": item["custom_id"], "value": value}
            components.append({"type": 18, "id": number - 1, "component": filled} if row["type"] == 18 else
                              {"type": 1, "id": number - 1, "components": [filled]})
        data = {"custom_id": modal["custom_id"], "components": components, "resolved": {}}
        return await self.send(self.world.interaction(5, record["user"], record["channel"], data, record["message"]))

    async def ping(self, request):
        """{forge?}: a PING to the interactions endpoint; `forge` is one of key, body, old, none."""
        order = await request.json()
        record = self.world.interaction(1, self.world.owner, self.world.channels[self.world.general], None)
        status, text = await self.post(record, order.get("forge"))
        return web.json_response({"status": status, "body": text})

    # --- interactions ------------------------------------------------------------------------------
    async def send(self, record):
        if not self.world.settings["interactions_url"]:
            self.gateway.dispatch("INTERACTION_CREATE", record["payload"])
            return web.json_response({"interaction": record["id"]})
        status, text = await self.post(record)
        answer = {"interaction": record["id"], "status": status, "body": text}
        if status == 200:
            problems = self.take_answer(record, text)
            if problems:
                self.api.violations += problems
        return web.json_response(answer)

    def take_answer(self, record, text):
        try:
            body = json.loads(text)
            found = self.api.description.route("POST", "/interactions/1/2/callback")
            problems = self.api.description.check_body(found[1], body)
            if not problems:
                self.api.tell(record, self.world.respond(record, body))
            return ["interaction answer: " + problem for problem in problems]
        except (ValueError, Refusal) as error:
            return ["interaction answer: %s" % error]

    async def sign(self, request):
        """{body, forge}: what Discord would send with it."""
        order = await request.json()
        return web.json_response(self.signed(order["body"], order.get("forge")))

    async def sign_command(self, request):
        """As command, but it is not sent: the signed request for a test to send itself."""
        order = await request.json()
        record = self.world.interaction(2, self.world.person(order["person"]), self.world.place(order["channel"]), {
            "id": self.world.commands[0]["id"], "name": "berth", "type": 1, "options": order["options"]})
        return web.json_response(self.signed(json.dumps(record["payload"])))

    def signed(self, body, forge=None):
        stamp = str(int(time.time()) - (3600 if forge == "old" else 0))
        signature = self.world.key.sign((stamp + body).encode()).hex()
        if forge == "key":
            signature = signature[:-2] + ("00" if signature[-2:] != "00" else "01")
        if forge == "body":
            body += " "
        return {"body": body, "stamp": stamp, "signature": "" if forge == "none" else signature}

    async def post(self, record, forge=None):
        """Signs and posts as Discord does; (status, text), (0, why) where no answer came."""
        parts = self.signed(json.dumps(record["payload"]), forge)
        body = parts["body"]
        headers = {"Content-Type": "application/json", "X-Signature-Timestamp": parts["stamp"]}
        if parts["signature"]:
            headers["X-Signature-Ed25519"] = parts["signature"]
        return await self.caller.send("POST", self.world.settings["interactions_url"], self.world.settings["answer_within"] + 2,
                                      data=body.encode(), headers=headers)

    async def look_at_interaction(self, request):
        record = self.world.interactions[request.match_info["id"]]
        took = record["answered"] - record["made"] if record["answered"] else None
        return web.json_response({"answer": record["answer"], "took": took, "modal": record["modal"],
                                  "original": record["original"]["id"] if record["original"] else None,
                                  "followups": record["followups"]})

    # --- looking -----------------------------------------------------------------------------------
    async def channel(self, request):
        """What stands there now, in order; `?as=<person>` sees their ephemeral ones too."""
        channel = self.world.place(request.match_info["place"])
        viewer = request.query.get("as")
        seen = []
        for message in self.world.messages[channel["id"]].values():
            if message["flags"] & EPHEMERAL and (viewer is None or message.get("_for") != viewer):
                continue
            seen.append({
                "id": message["id"], "author": message["author"]["username"],
                "bot": message["author"]["id"] == self.world.bot["id"], "content": message["content"],
                "embeds": message["embeds"], "components": message["components"], "edits": message["_edits"],
                "files": [{"name": part["filename"], "text": part["_data"]} for part in message["attachments"]],
                "ephemeral": bool(message["flags"] & EPHEMERAL), "loading": bool(message["flags"] & LOADING),
                "told": [user["username"] for user in message["mentions"]], "everyone": message["mention_everyone"],
                "answers": (message.get("message_reference") or {}).get("message_id"),
                "nonce": message.get("nonce")})
        return web.json_response({"id": channel["id"], "messages": seen})

    async def state(self, request):
        history = self.gateway.history
        return web.json_response({
            "live": len(self.gateway.live()), "history": history,
            "counts": {what: sum(1 for entry in history if entry["what"] == what)
                       for what in {entry["what"] for entry in history}},
            "requests": self.api.requests, "violations": self.api.violations, "flaws": self.api.flaws,
            "commands": self.world.commands, "application": self.world.application_id, "bot": self.world.bot["id"],
            "key": self.world.verify_key(), "faults": self.api.faults, "guild": self.world.guild_id,
            "channels": {"general": self.world.general, "other": self.world.other, "thread": self.world.thread},
            "people": {name: user["id"] for name, user in self.world.people.items()}})

    # --- misbehaving -------------------------------------------------------------------------------
    async def settings(self, request):
        order = await request.json()
        self.world.settings.update(order)
        return web.json_response(self.world.settings)

    async def order(self, request):
        order = await request.json()
        return web.json_response({"sockets": await self.gateway.do(order["do"], order)})

    async def token(self, request):
        """{token}: another one is valid from now on; whoever is connected by the old one is thrown out."""
        answer = await super().token(request)
        for session in self.gateway.live():
            await session.socket.end(4004, "Authentication failed.")
        return answer

    async def access(self, request):
        order = await request.json()
        self.world.place(order["channel"])["_access"] = order["access"]
        return web.json_response({})

    async def delete(self, request):
        order = await request.json()
        del self.world.messages[self.world.place(order["channel"])["id"]][order["message"]]
        return web.json_response({})
