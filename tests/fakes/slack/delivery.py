# SPDX-License-Identifier: Apache-2.0
# How Slack reaches an app: Socket Mode connections with envelopes that want an acknowledgement, or signed requests.
import asyncio
import hashlib
import hmac
import json
import time
import urllib.parse

from aiohttp import WSMsgType, web

from common.control import Caller
from world import APP, SIGNING_SECRET

MOST_CONNECTIONS = 10


class Delivery:
    def __init__(self, world):
        self.world = world
        self.tickets = set()
        self.lines = {}       # number -> WebSocketResponse
        self.waiting = {}     # envelope id -> {"message", "retries", "acked", "sent"}
        self.ack_within = 1.0  # Slack's own is 3 s
        self.muted = False    # no pong
        self.silent = False   # no hello
        self.hold = False     # nothing is delivered
        self.in_order = False  # an event waits until those before it in its channel are acknowledged
        self.last = {}        # channel -> its newest event's entry
        self.webhook = None   # where requests go instead
        self.caller = Caller()
        self.last_answer = ""
        self.tasks = set()
        self.turn = 0

    def routes(self):
        return [web.get("/link/", self.link)]

    async def stop(self):
        for task in list(self.tasks):
            task.cancel()
        for line in list(self.lines.values()):
            await line.close()
        await self.caller.close()

    def run(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # --- Socket Mode -----------------------------------------------------------------------------
    def new_ticket(self):
        ticket = "ticket-%d" % self.world.number()
        self.tickets.add(ticket)
        return self.world.url.replace("http://", "ws://") + "/link/?ticket=%s&app_id=%s" % (ticket, APP)

    async def link(self, request):
        ticket = request.query.get("ticket")
        if ticket not in self.tickets or len(self.lines) >= MOST_CONNECTIONS:
            return web.Response(status=403)
        self.tickets.discard(ticket)
        line = web.WebSocketResponse(autoping=False, heartbeat=None)
        await line.prepare(request)
        number = self.world.number()
        self.lines[number] = line
        self.world.events.append(["open", number])
        if not self.silent:
            await line.send_json({"type": "hello", "num_connections": len(self.lines), "connection_info": {"app_id": APP},
                                  "debug_info": {"host": "fake", "started": "now", "build_number": 1, "approximate_connection_time": 3600}})
            self.world.events.append(["hello", number])
            self.run(self.resend())
        try:
            async for message in line:
                if message.type == WSMsgType.PING and not self.muted:
                    await line.pong(message.data)
                elif message.type == WSMsgType.TEXT:
                    self.acknowledged(json.loads(message.data))
        finally:
            self.lines.pop(number, None)
            self.world.events.append(["close", number])
        return line

    def acknowledged(self, ack):
        entry = self.waiting.get(ack.get("envelope_id"))
        if entry is not None and not entry["acked"].done():
            entry["acked"].set_result(True)

    async def resend(self):
        """What nobody acknowledged while there was no connection."""
        for entry in list(self.waiting.values()):
            entry["again"].set()

    async def disconnect(self, reason, close_after):
        numbers = list(self.lines)
        for number in numbers:
            self.world.events.append(["disconnect", number])
            await self.lines[number].send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "fake"}})
        await asyncio.sleep(close_after)
        for number in numbers:
            if number in self.lines:
                await self.lines[number].close()

    # --- one delivery ----------------------------------------------------------------------------
    def deliver(self, kind, payload, accepts_payload=False):
        envelope = "env-%d" % self.world.number()
        message = {"envelope_id": envelope, "type": kind, "payload": payload, "accepts_response_payload": accepts_payload}
        self.push(message)
        return envelope

    def push(self, message):
        entry = {"message": message, "acked": asyncio.get_running_loop().create_future(), "again": asyncio.Event(), "sent": 0, "done": asyncio.Event()}
        self.waiting[message["envelope_id"]] = entry
        channel = message["payload"].get("event", {}).get("channel")
        before = self.last.get(channel) if self.in_order and channel else None
        if channel:
            self.last[channel] = entry
        self.run(self.keep_trying(entry, before))

    async def keep_trying(self, entry, before=None):
        """Until it is acknowledged. (Slack itself gives up after three retries in an hour; a test waits less.)"""
        if before is not None:
            await before["done"].wait()
        message = entry["message"]
        while not entry["acked"].done():
            entry["again"].clear()
            if not self.hold and await self.send_once(entry):
                break
            waits = [asyncio.ensure_future(entry["again"].wait()), entry["acked"]]
            await asyncio.wait(waits, timeout=self.ack_within, return_when=asyncio.FIRST_COMPLETED)
            waits[0].cancel()
            if message["type"] == "events_api":
                message["retry_attempt"], message["retry_reason"] = entry["sent"], "timeout"
        entry["done"].set()
        self.waiting.pop(message["envelope_id"], None)

    async def send_once(self, entry):
        """True: acknowledged already."""
        message = entry["message"]
        if self.webhook:
            entry["sent"] += 1
            return await self.send_http(message) == 200
        lines = [line for line in self.lines.values() if not line.closed]
        if lines:
            self.turn += 1
            entry["sent"] += 1
            try:
                await lines[self.turn % len(lines)].send_json(message)
            except (ConnectionError, RuntimeError):
                pass
        return False

    async def send_http(self, message, timestamp=None, signature=None, secret=SIGNING_SECRET):
        """Its status; 0 where there was no answer."""
        kind, payload = message["type"], message["payload"]
        if kind == "events_api":
            body, content = json.dumps(payload), "application/json"
        elif kind == "slash_commands":
            body, content = urllib.parse.urlencode(payload), "application/x-www-form-urlencoded"
        else:
            body, content = urllib.parse.urlencode({"payload": json.dumps(payload)}), "application/x-www-form-urlencoded"
        timestamp = timestamp or str(int(time.time()))
        digest = hmac.new(secret.encode(), ("v0:%s:%s" % (timestamp, body)).encode(), hashlib.sha256).hexdigest()
        headers = {"Content-Type": content, "X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature or "v0=" + digest}
        if message.get("retry_attempt"):
            headers.update({"X-Slack-Retry-Num": str(message["retry_attempt"]), "X-Slack-Retry-Reason": "http_timeout"})
        status, self.last_answer = await self.caller.send("POST", self.webhook, 3, data=body, headers=headers)
        return status
