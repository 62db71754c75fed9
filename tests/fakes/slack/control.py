# SPDX-License-Identifier: Apache-2.0
# The fake's other side: acting as a person, looking at what stands in a channel, and ordering faults.
from aiohttp import web

from common.control import Control as Common
from common.faults import break_off
from world import APP, BOT_USER, TEAM


def sent(text):
    """What somebody typed, as Slack sends it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Control(Common):
    posts = ("channel", "say", "command", "click", "submit", "faults", "revoke", "restore", "archive", "disconnect", "line",
             "webhook", "forge", "redeliver")
    looks = {"channel/{id}": "look", "state": "state", "views": "views"}

    def __init__(self, world, api, delivery):
        super().__init__(world, api)
        self.delivery = delivery

    # --- acting as a person ----------------------------------------------------------------------
    async def channel(self, request):
        """{id, people}: makes a channel where the bot is a member."""
        order = await request.json()
        channel = self.world.channel(order["id"], make=True)
        for user in order.get("people", ()):
            self.world.person(user)
        channel["member"] = order.get("member", True)
        return web.json_response({})

    async def say(self, request):
        """{channel, user, text, thread, count, from, twice}: `{n}` in the text counts. In a channel (not in D…) the bot is
        mentioned."""
        order = await request.json()
        channel = self.world.channel(order["channel"], make=True)
        self.world.person(order["user"])
        stamps = []
        for number in range(order.get("count", 1)):
            text = sent(order["text"].replace("{n}", str(order.get("from", 0) + number)))
            direct = channel["id"].startswith("D")
            if not direct:
                text = "<@%s> %s" % (BOT_USER, text)
            message = self.world.say(channel, order["user"], text, order.get("thread"))
            event = {"type": "message" if direct else "app_mention", "user": order["user"], "text": text, "ts": message["ts"],
                     "channel": channel["id"], "team": TEAM, "event_ts": message["ts"]}
            if direct:
                event["channel_type"] = "im"
            if order.get("thread"):
                event["thread_ts"] = order["thread"]
            payload = {"token": "unused", "team_id": TEAM, "api_app_id": APP, "type": "event_callback",
                       "event_id": "Ev%010d" % self.world.number(), "event_time": int(float(message["ts"])),
                       "event_context": "ec", "authed_users": [BOT_USER],
                       "authorizations": [{"enterprise_id": None, "team_id": TEAM, "user_id": BOT_USER, "is_bot": True,
                                           "is_enterprise_install": False}],
                       "event": {**event, **order.get("more", {})}}
            self.world.flaws += self.api.description.check_event(payload)
            for _ in range(2 if order.get("twice") else 1):
                self.delivery.deliver("events_api", payload)
            stamps.append(message["ts"])
        return web.json_response({"ts": stamps[0], "all": stamps, "payload": payload})

    async def command(self, request):
        """{channel, user, text}: /berth TEXT."""
        order = await request.json()
        channel = self.world.channel(order["channel"], make=True)
        user = order["user"]
        payload = {"token": "unused", "team_id": TEAM, "team_domain": "berth", "channel_id": channel["id"],
                   "channel_name": "directmessage" if channel["id"].startswith("D") else "general", "user_id": user,
                   "user_name": self.world.person(user), "command": "/berth", "text": sent(order["text"]), "api_app_id": APP,
                   "is_enterprise_install": "false", "response_url": self.world.handle("commands", channel["id"], user),
                   "trigger_id": self.world.trigger(user)}
        self.delivery.deliver("slash_commands", payload, True)
        return web.json_response(payload)

    async def click(self, request):
        """{channel, ts, user, button, count}: `button` is a label; 404 where it is not there (any more). `action` is one
        that was there before."""
        order = await request.json()
        channel = self.world.channel(order["channel"])
        message = channel["messages"].get(order["ts"])
        if message is None:
            return web.json_response({"error": "no such message"}, status=404)
        buttons = [e for b in message.get("blocks", []) if b["type"] == "actions" for e in b["elements"]]
        action = order.get("action") or next((b for b in buttons if b["text"]["text"] == order["button"]), None)
        if action is None:
            return web.json_response({"error": "no such button"}, status=404)
        user = order["user"]
        payload = {"type": "block_actions", "team": {"id": TEAM, "domain": "berth"}, "api_app_id": APP, "token": "unused",
                   "user": {"id": user, "username": self.world.person(user), "name": self.world.person(user), "team_id": TEAM},
                   "channel": {"id": channel["id"], "name": "general"}, "enterprise": None, "is_enterprise_install": False,
                   "container": {"type": "message", "message_ts": message["ts"], "channel_id": channel["id"], "is_ephemeral": False},
                   "message": {key: value for key, value in message.items() if key != "metadata"},
                   "trigger_id": self.world.trigger(user), "state": {"values": {}},
                   "response_url": self.world.handle("actions", channel["id"], user),
                   "actions": [{**action, "block_id": "b", "action_ts": self.world.ts()}]}
        for _ in range(order.get("count", 1)):
            self.delivery.deliver("interactive", payload)
        return web.json_response({"action": action})

    async def submit(self, request):
        """{view, comment}: fills in a modal and sends it."""
        order = await request.json()
        entry = self.world.views[order["view"]]
        if not entry["open"]:
            return web.json_response({"error": "it is closed"}, status=404)
        entry["open"] = False
        user = entry["user"]
        payload = {"type": "view_submission", "team": {"id": TEAM, "domain": "berth"}, "api_app_id": APP, "token": "unused",
                   "user": {"id": user, "username": self.world.person(user), "name": self.world.person(user), "team_id": TEAM},
                   "trigger_id": self.world.trigger(user), "response_urls": [], "is_enterprise_install": False, "enterprise": None,
                   "view": {"id": order["view"], "team_id": TEAM, "app_id": APP, "hash": "1.a", "root_view_id": order["view"],
                            **entry["view"], "state": {"values": {"comment": {"comment": {
                                "type": "plain_text_input", "value": order["comment"]}}}}}}
        self.delivery.deliver("interactive", payload, True)
        return web.json_response({})

    async def redeliver(self, request):
        """{type, payload}: sends that once more, in a new envelope."""
        order = await request.json()
        self.delivery.deliver(order["type"], order["payload"])
        return web.json_response({})

    # --- looking ---------------------------------------------------------------------------------
    async def look(self, request):
        channel = self.world.channel(request.match_info["id"])
        if channel is None:
            return web.json_response({"messages": [], "ephemeral": []})
        return web.json_response({"messages": list(channel["messages"].values()), "ephemeral": channel["ephemeral"]})

    async def state(self, _):
        return web.json_response({"connections": len(self.delivery.lines), "events": self.world.events, "calls": len(self.world.calls),
                                  "waiting": len(self.delivery.waiting), "flaws": self.world.flaws, "violations": self.world.violations,
                                  "files": {name: file["bytes"].decode("latin-1") for name, file in self.world.files.items() if file["bytes"]}})

    async def views(self, _):
        return web.json_response({name: entry for name, entry in self.world.views.items() if entry["open"]})

    # --- faults ----------------------------------------------------------------------------------
    async def faults(self, request):
        """{faults: [{method, kind, skip, times, …}]}: kind is 429 (retry_after), 500_before, 500_after (status), drop_before,
        drop_after, late (delay), error (error). Replaces what was ordered before."""
        self.world.faults = (await request.json())["faults"]
        return web.json_response({})

    async def revoke(self, request):
        """{which: bot | app}"""
        which = (await request.json())["which"]
        setattr(self.world, which + "_token", "revoked-" + getattr(self.world, which + "_token"))
        for line in list(self.delivery.lines.values()) if which == "app" else []:
            await line.close()
        return web.json_response({})

    async def restore(self, request):
        which = (await request.json())["which"]
        setattr(self.world, which + "_token", getattr(self.world, which + "_token").removeprefix("revoked-"))
        return web.json_response({})

    async def archive(self, request):
        self.world.channel((await request.json())["channel"])["archived"] = True
        return web.json_response({})

    async def disconnect(self, request):
        """{reason, close_after}: what Slack says before it ends the connections."""
        order = await request.json()
        self.delivery.run(self.delivery.disconnect(order.get("reason", "refresh_requested"), order.get("close_after", 1.0)))
        return web.json_response({})

    async def line(self, request):
        """{muted, silent, hold, ack_within, in_order, cut}: no pongs; no hello; nothing is delivered; seconds until an
        envelope comes again; a channel's events one after the other; breaks the connections now."""
        order = await request.json()
        for name in ("muted", "silent", "hold", "ack_within", "in_order"):
            if name in order:
                setattr(self.delivery, name, order[name])
        if order.get("cut"):
            for line in list(self.delivery.lines.values()):
                break_off(line._req)
        return web.json_response({})

    async def webhook(self, request):
        """{url}: requests go there instead of over connections; empty: connections again."""
        self.delivery.webhook = (await request.json())["url"] or None
        return web.json_response({})

    async def forge(self, request):
        """{type, payload, timestamp, signature, secret}: sends one request that may not be genuine; its status."""
        order = await request.json()
        more = {name: order[name] for name in ("timestamp", "signature", "secret") if name in order}
        status = await self.delivery.send_http({"type": order["type"], "payload": order["payload"]}, **more)
        return web.json_response({"status": status, "body": self.delivery.last_answer})
