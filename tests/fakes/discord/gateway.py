# SPDX-License-Identifier: Apache-2.0
# The fake's Gateway (v10, JSON): identify, heartbeats, dispatches, resume, and every way in which a session ends.
import asyncio
import json
import secrets
import time

from aiohttp import WSMsgType, web

from common.faults import break_off

GUILDS, GUILD_MESSAGES, DIRECT_MESSAGES, MESSAGE_CONTENT = 1, 1 << 9, 1 << 12, 1 << 15
PRIVILEGED = (1 << 1) | (1 << 8) | MESSAGE_CONTENT
KNOWN_INTENTS = (1 << 26) - 1
MAX_PAYLOAD = 4096
MAX_EVENTS = 120  # in 60 s
FINAL = (1000, 1001, 4004, 4007, 4009, 4010, 4011, 4012, 4013, 4014)  # a session that ends so cannot be resumed


class Session:
    def __init__(self, intents):
        self.id = secrets.token_hex(16)
        self.intents = intents
        self.seq = 0
        self.sent = []  # (seq, payload text)
        self.socket = None
        self.ended = False


class Socket:
    """One connection."""

    def __init__(self, gateway, ws):
        self.gateway = gateway
        self.ws = ws
        self.session = None
        self.beat = time.monotonic()
        self.events = []
        self.muted = False
        self.lock = asyncio.Lock()
        self.close_code = None
        self.said_close = None

    async def send(self, op, data=None, seq=None, kind=None):
        await self.send_text(json.dumps({"op": op, "d": data, "s": seq, "t": kind}))

    async def send_text(self, text):
        async with self.lock:
            if not self.ws.closed and not self.muted:
                try:
                    await self.ws.send_str(text)
                except (ConnectionError, RuntimeError):
                    pass

    async def end(self, code, why=""):
        self.close_code = code
        self.said_close = asyncio.get_running_loop().create_future()
        self.gateway.log("closed", code=code)
        self.leave(code)
        try:
            await asyncio.wait_for(self.ws.close(code=code, message=why.encode()), 2)
        except asyncio.TimeoutError:
            pass
        finally:
            self.said_close.set_result(None)

    def drop(self):
        """The connection breaks without a word."""
        self.leave(1006)
        if self.ws._req is not None:
            break_off(self.ws._req)

    def leave(self, code):
        if self.session is not None and self.session.socket is self:
            self.session.socket = None
            if code in FINAL:
                self.session.ended = True


class Gateway:
    def __init__(self, world):
        self.world = world
        self.sessions = {}
        self.sockets = set()
        self.history = []
        self.last_identify = 0.0
        self.mute_next = False

    def log(self, what, **more):
        self.history.append({"what": what, "at": time.time(), **more})

    def live(self):
        return [session for session in self.sessions.values() if session.socket is not None]

    # --- what the platform sends ---------------------------------------------------------------
    def dispatch(self, kind, data, intent=0, private=None):
        """To every session that asked for it; `private`: the data for those without the message content intent."""
        for session in self.sessions.values():
            if session.ended or (intent and not session.intents & intent):
                continue
            shown = data
            if private is not None and not session.intents & MESSAGE_CONTENT:
                shown = private
            self.send(session, kind, shown)

    def send(self, session, kind, data):
        session.seq += 1
        text = json.dumps({"op": 0, "d": data, "s": session.seq, "t": kind})
        session.sent.append((session.seq, text))
        del session.sent[:-self.world.settings["replay_limit"]]
        if session.socket is not None:
            asyncio.ensure_future(session.socket.send_text(text))

    def message(self, kind, message):
        channel = self.world.channels[message["channel_id"]]
        data = {key: value for key, value in message.items() if not key.startswith("_")}
        data["channel_type"] = channel["type"]
        data["attachments"] = [{k: v for k, v in part.items() if not k.startswith("_")} for part in data["attachments"]]
        private = None
        if channel["type"] == 1:
            intent = DIRECT_MESSAGES
        else:
            intent = GUILD_MESSAGES
            data["guild_id"] = channel["guild_id"]
            data["member"] = {"roles": [], "joined_at": message["timestamp"], "deaf": False, "mute": False, "flags": 0,
                              "nick": None, "avatar": None, "premium_since": None, "pending": False,
                              "communication_disabled_until": None}
            mine = message["author"]["id"] == self.world.bot["id"]
            if not mine and self.world.bot["id"] not in [user["id"] for user in message["mentions"]]:
                private = {**data, "content": "", "embeds": [], "attachments": [], "components": []}
        self.dispatch(kind, data, intent, private)

    async def do(self, what, body):
        """A control order: how the platform misbehaves."""
        sockets = [session.socket for session in self.live()]
        if what == "reconnect":
            for socket in sockets:
                await socket.send(7)
        elif what == "invalid":
            for socket in sockets:  # from here the client may resume or identify on this connection or on another
                socket.session.ended = not body.get("resumable")
                socket.session.socket, socket.session = None, None
                await socket.send(9, bool(body.get("resumable")))
        elif what == "close":
            for socket in sockets:
                await socket.end(int(body["code"]), "as ordered")
        elif what == "drop":
            for socket in sockets:
                socket.drop()
        elif what == "mute":  # no op 11 any more, and nothing else: a zombie
            for socket in sockets:
                socket.muted = True
        elif what == "ask_beat":
            for socket in sockets:
                await socket.send(1)
        elif what == "forget":
            for session in self.sessions.values():
                session.ended = True
        else:
            raise KeyError(what)
        return len(sockets)

    # --- what the client sends -----------------------------------------------------------------
    async def handle(self, request):
        ws = web.WebSocketResponse(heartbeat=None, autoping=True, max_msg_size=1 << 20)
        await ws.prepare(request)
        socket = Socket(self, ws)
        self.sockets.add(socket)
        self.log("connected")
        interval = self.world.settings["heartbeat_interval"]
        try:
            if request.query.get("v") != "10":
                await socket.end(4012, "Invalid API version")
                return ws
            if request.query.get("encoding", "json") != "json" or "compress" in request.query:
                await socket.end(4002, "this fake speaks plain JSON only")
                return ws
            await socket.send(10, {"heartbeat_interval": interval, "_trace": ["fake"]})
            watch = asyncio.ensure_future(self.watch(socket, interval / 1000.0))
            async for message in ws:
                if message.type != WSMsgType.TEXT:
                    await socket.end(4002, "Decode error")
                    break
                await self.receive(socket, message.data)
            watch.cancel()
            if ws.close_code is not None and socket.close_code is None:
                self.log("left", code=ws.close_code)
                socket.leave(ws.close_code)
            socket.leave(1006)
            if socket.said_close is not None:
                await socket.said_close  # a handler that returned would close with a code of its own
        finally:
            self.sockets.discard(socket)
        return ws

    async def watch(self, socket, interval):
        while True:
            await asyncio.sleep(interval / 4)
            if time.monotonic() - socket.beat > interval * 1.5 + 1:
                self.log("no heartbeat")
                await socket.end(4000, "no heartbeat")
                return

    async def receive(self, socket, text):
        now = time.monotonic()
        socket.events = [at for at in socket.events if now - at < 60] + [now]
        if len(socket.events) > MAX_EVENTS:
            return await socket.end(4008, "Rate limited")
        try:
            payload = json.loads(text)
            op, data = payload["op"], payload.get("d")
        except (ValueError, KeyError, TypeError):
            return await socket.end(4002, "Decode error")
        if len(text.encode()) > MAX_PAYLOAD:
            return await socket.end(4002, "Decode error")
        if socket.muted:
            return None
        if op == 1:
            return await self.heartbeat(socket, data)
        if op == 2:
            return await self.identify(socket, data)
        if op == 6:
            return await self.resume(socket, data)
        if op in (3, 4, 8, 31):
            return await socket.end(4003, "Not authenticated") if socket.session is None else None
        return await socket.end(4001, "Unknown opcode")

    async def heartbeat(self, socket, seq):
        if seq is not None and not isinstance(seq, int):
            return await socket.end(4002, "Decode error")
        socket.beat = time.monotonic()
        self.log("heartbeat", seq=seq)
        return await socket.send(11)

    def identity_flaw(self, data):
        """(code, words) of what is wrong with an identify, or None."""
        if not isinstance(data, dict) or not isinstance(data.get("properties"), dict):
            return 4002, "Decode error"
        if data.get("token") != self.world.token and data.get("token") != "Bot " + self.world.token:
            return 4004, "Authentication failed."
        intents = data.get("intents")
        if not isinstance(intents, int) or intents < 0 or intents & ~KNOWN_INTENTS:
            return 4013, "Invalid intent(s)."
        granted = sum(1 << bit for bit in self.world.settings["privileged"])
        if intents & PRIVILEGED & ~granted:
            return 4014, "Disallowed intent(s)."
        shard = data.get("shard", [0, 1])
        if not isinstance(shard, list) or len(shard) != 2 or not 0 <= shard[0] < shard[1]:
            return 4010, "Invalid shard."
        return None

    async def identify(self, socket, data):
        if socket.session is not None:
            return await socket.end(4005, "Already authenticated.")
        flaw = self.identity_flaw(data)
        if flaw:
            return await socket.end(*flaw)
        settings = self.world.settings
        early = time.time() - self.last_identify < settings["identify_every"]
        if early or settings["identify_remaining"] <= 0:
            self.log("identify refused", early=early)
            return await socket.send(9, False)
        self.last_identify = time.time()
        settings["identify_remaining"] -= 1
        session = Session(data["intents"])
        self.sessions[session.id] = session
        socket.session, session.socket = session, socket
        self.log("identified", session=session.id, intents=data["intents"])
        world = self.world
        self.send(session, "READY", {
            "v": 10, "user": {**world.bot, "verified": True, "mfa_enabled": False, "email": None}, "user_settings": {},
            "guilds": [{"id": world.guild_id, "unavailable": True}], "session_id": session.id,
            "resume_gateway_url": world.public_url.replace("http", "ws", 1) + "/resume",
            "session_type": "normal", "private_channels": [], "relationships": [], "presences": [],
            "application": {"id": world.application_id, "flags": 0}, "shard": data.get("shard", [0, 1])})
        if session.intents & GUILDS:
            self.send(session, "GUILD_CREATE", self.guild())
        return None

    def guild(self):
        world = self.world
        channels = [world.shown(c) for c in world.channels.values() if c["type"] == 0]
        threads = [world.shown(c) for c in world.channels.values() if c["type"] == 11]
        return {
            "id": world.guild_id, "name": "The guild", "icon": None, "owner_id": world.owner["id"], "features": [],
            "roles": [{"id": world.guild_id, "name": "@everyone", "color": 0, "hoist": False, "position": 0,
                       "permissions": "562949953601536", "managed": False, "mentionable": False, "flags": 0}],
            "emojis": [], "stickers": [], "channels": channels, "threads": threads, "members": [
                {"user": world.bot, "roles": [], "joined_at": "2026-01-01T00:00:00+00:00", "deaf": False,
                 "mute": False, "flags": 0}],
            "voice_states": [], "presences": [], "stage_instances": [], "guild_scheduled_events": [],
            "soundboard_sounds": [], "member_count": 2, "large": False, "unavailable": False,
            "joined_at": "2026-01-01T00:00:00+00:00", "preferred_locale": "en-US", "verification_level": 0,
            "default_message_notifications": 0, "explicit_content_filter": 0, "mfa_level": 0, "nsfw_level": 0,
            "premium_tier": 0, "premium_progress_bar_enabled": False, "system_channel_flags": 0, "afk_timeout": 300}

    async def resume(self, socket, data):
        if socket.session is not None:
            return await socket.end(4005, "Already authenticated.")
        if not isinstance(data, dict) or not isinstance(data.get("seq"), int):
            return await socket.end(4002, "Decode error")
        if data.get("token") not in (self.world.token, "Bot " + self.world.token):
            return await socket.end(4004, "Authentication failed.")
        session = self.sessions.get(data.get("session_id"))
        if session is None or session.ended:
            self.log("resume refused")
            return await socket.send(9, False)
        oldest = session.sent[0][0] if session.sent else 1
        if data["seq"] > session.seq or data["seq"] < oldest - 1:
            session.ended = True
            return await socket.end(4007, "Invalid seq")
        if session.socket is not None:
            session.socket.session = None
            await session.socket.end(4000, "resumed elsewhere")
        missed = [text for seq, text in session.sent if seq > data["seq"]]
        self.log("resumed", session=session.id, seq=data["seq"], replayed=len(missed))
        socket.session = session
        for text in missed:
            await socket.send_text(text)
        session.socket = socket
        # What was said while the missed ones were sent:
        last = json.loads(missed[-1])["s"] if missed else data["seq"]
        for text in [text for seq, text in session.sent if seq > last]:
            await socket.send_text(text)
        self.send(session, "RESUMED", {"_trace": ["fake"]})
        return None
