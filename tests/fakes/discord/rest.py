# SPDX-License-Identifier: Apache-2.0
# The fake's REST API: every request held to the description, counted against its bucket, and answered from the world.
import asyncio
import hashlib
import json
import re
import time

from aiohttp import web

from common.faults import Patience, break_off, next_fault
from description import Description
from world import EPHEMERAL, Refusal, THREAD


class Buckets:
    def __init__(self, world):
        self.world = world
        self.used = {}  # (bucket, major) → (window start, count)
        self.all = (0.0, 0)

    def limit_of(self, route):
        return self.world.settings["limits"].get(route, [1000, 1.0])

    def take(self, route, major, counts_globally):
        """(headers, refusal body or None) of one more request."""
        limit, window = self.limit_of(route)
        now = time.time()
        start, count = self.used.get((route, major), (now, 0))
        if now - start >= window:
            start, count = now, 0
        count += 1
        left = max(0.0, start + window - now)
        headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(max(0, limit - count)),
                   "X-RateLimit-Reset": "%.3f" % (start + window), "X-RateLimit-Reset-After": "%.3f" % left,
                   "X-RateLimit-Bucket": hashlib.sha256(route.encode()).hexdigest()[:32]}
        if counts_globally:
            second, total = self.all
            if now - second >= 1.0:
                second, total = now, 0
            self.all = (second, total + 1)
            if total + 1 > self.world.settings["global_limit"]:
                return self.refused(headers, second + 1.0 - now, True, "global")
        if count > limit:
            return self.refused(headers, left, False, "user")
        self.used[(route, major)] = (start, count)
        return headers, None

    @staticmethod
    def refused(headers, seconds, everywhere, scope):
        headers = {**headers, "Retry-After": str(max(1, int(seconds + 0.999))), "X-RateLimit-Scope": scope}
        if everywhere:
            headers["X-RateLimit-Global"] = "true"
        body = {"message": "You are being rate limited.", "retry_after": round(seconds, 3), "global": everywhere,
                "code": 0}
        return headers, body


class Api:
    def __init__(self, world, gateway):
        self.world = world
        self.gateway = gateway
        self.description = Description()
        self.buckets = Buckets(world)
        self.faults = []
        self.requests = []
        self.violations = []  # what clients did wrong by the description
        self.flaws = []  # what this fake did wrong by it
        self.patience = Patience(self.violations)

    # --- one request ---------------------------------------------------------------------------
    async def handle(self, request):
        path = re.sub(r"^/api/v10", "", request.path)
        entry = {"method": request.method, "path": re.sub(r"it_[\w-]+", "<token>", path), "at": time.time()}
        self.requests.append(entry)
        fault = next_fault(self.faults, lambda one: one["method"] in (request.method, "*") and re.search(one["path"], path))
        route = (request.method, "/".join(path.split("/")[:4]))  # limits are per channel or webhook
        self.patience.came(route, "all")
        refused = await self.before(fault, request, route)
        if refused is not None:
            entry["status"] = refused.status
            return refused
        status, body, headers = await self.answer(request, path)
        entry["status"] = status
        if fault.get("when") == "after":
            if fault["kind"] == "drop":
                break_off(request)
            elif fault["kind"] == "error":
                return web.json_response({"message": "upstream", "code": 0}, status=fault.get("status", 502))
            elif fault["kind"] == "late":
                await asyncio.sleep(fault["seconds"])
        if body is None:
            return web.Response(status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    async def before(self, fault, request, route):
        if not fault or fault.get("when") == "after":
            return None
        if fault["kind"] in ("429", "429_global"):
            everywhere = fault["kind"] == "429_global"
            self.patience.told("all" if everywhere else route, fault.get("retry_after", 1.0), fault)
            headers, body = Buckets.refused({}, fault.get("retry_after", 1.0), everywhere,
                                            "global" if everywhere else fault.get("scope", "user"))
            return web.json_response(body, status=429, headers=headers)
        if fault["kind"] == "cloudflare":
            return web.Response(text="<html>error code: 1015</html>", status=429, content_type="text/html",
                                headers={"Retry-After": str(fault.get("retry_after", 1))})
        if fault["kind"] == "error":
            return web.json_response({"message": fault.get("message", "upstream"), "code": fault.get("code", 0)},
                                     status=fault.get("status", 502))
        if fault["kind"] == "drop":
            break_off(request)
            return web.Response(status=500)
        if fault["kind"] == "late":
            await asyncio.sleep(fault["seconds"])
        return None

    async def answer(self, request, path):
        """(status, body or None, headers)"""
        found = self.description.route(request.method, path)
        headers = {}
        try:
            if found is None:
                raise Refusal(404, 0, "404: Not Found")
            template, operation, arguments = found
            by_token = template.startswith("/interactions/") or "{webhook_token}" in template
            if not re.match(r"DiscordBot \(\S+, \S+\)", request.headers.get("User-Agent", "")):
                self.violations.append("no User-Agent in Discord's form at %s" % path)
            if not by_token and request.headers.get("Authorization") != "Bot " + self.world.token:
                raise Refusal(401, 0, "401: Unauthorized")
            major = "/".join(re.findall(r"(?:channels|webhooks)/([^/]+(?:/it_[^/]+)?)", path))
            headers, refused = self.buckets.take(request.method + " " + template, major, not by_token)
            if refused is not None:
                self.check_answer(operation, 429, refused)
                return 429, refused, headers
            body, files = await self.read(request)
            problems = self.description.check_query(operation, {name: request.query.getall(name) for name in request.query})
            problems += self.description.check_body(operation, body)
            if problems:
                self.violations += ["%s %s: %s" % (request.method, template, problem) for problem in problems]
                raise Refusal(400, 50035, "Invalid Form Body: " + "; ".join(problems))
            handler = getattr(self, operation["operationId"])
            result = handler(arguments, body, files, dict(request.query))
            status, answer = result if isinstance(result, tuple) else (200, result)
            self.check_answer(operation, status, answer)
            return status, answer, headers
        except Refusal as refusal:
            if found is not None:
                self.check_answer(found[1], refusal.status, refusal.body)
            return refusal.status, refusal.body, headers

    def check_answer(self, operation, status, body):
        if self.world.settings["verify_answers"]:
            self.flaws += ["%s: %s" % (operation["operationId"], problem)
                           for problem in self.description.check_answer(operation, status, body)]

    async def read(self, request):
        """(JSON body or None, [(file name, bytes)])"""
        if not request.body_exists:
            return None, []
        kind = request.content_type
        try:
            if kind == "application/json":
                return json.loads(await request.text()), []
            if kind == "multipart/form-data":
                body, files = {}, {}
                async for part in await request.multipart():
                    if part.name == "payload_json":
                        body = json.loads(await part.text())
                        continue
                    match = re.fullmatch(r"files\[([0-9])\]", part.name or "")
                    if not match or not part.filename:
                        raise Refusal(400, 50035, "Invalid Form Body")
                    files[int(match.group(1))] = (part.filename, bytes(await part.read()))
                return body, [files[index] for index in sorted(files)]
        except (ValueError, UnicodeDecodeError):
            raise Refusal(400, 50109, "The request body contains invalid JSON.") from None
        if await request.read():
            raise Refusal(400, 50035, "Invalid Form Body")
        return None, []

    def told(self, message, history=False):
        out = self.world.shown(message)
        out["attachments"] = [self.world.shown(part) for part in out["attachments"]]
        if history and not self.world.settings["history_nonce"]:
            out.pop("nonce", None)
        return out

    # --- operations, named as in the description ---------------------------------------------------
    def get_bot_gateway(self, arguments, body, files, query):
        return {"url": self.world.public_url.replace("http", "ws", 1) + "/gateway", "shards": 1,
                "session_start_limit": {"total": 1000, "remaining": self.world.settings["identify_remaining"],
                                        "reset_after": self.world.settings.get("identify_reset_after", 14400000),
                                        "max_concurrency": 1}}

    def get_gateway(self, arguments, body, files, query):
        return {"url": self.world.public_url.replace("http", "ws", 1) + "/gateway"}

    def get_my_user(self, arguments, body, files, query):
        return {**self.world.bot, "mfa_enabled": False, "locale": "en-US"}

    def get_my_application(self, arguments, body, files, query):
        return {"id": self.world.application_id, "name": "Berth", "icon": None, "description": "", "type": None,
                "verify_key": self.world.verify_key(), "flags": 0, "flags_new": "0", "redirect_uris": [],
                "interactions_endpoint_url": self.world.settings["interactions_url"] or None,
                "role_connections_verification_url": None, "owner": self.world.owner, "bot": self.world.bot,
                "approximate_guild_count": 1, "approximate_user_install_count": 0,
                "approximate_user_authorization_count": 0, "explicit_content_filter": 0, "team": None,
                "eligible_oauth2_scopes": []}

    def own(self, arguments):
        if arguments["application_id"] != self.world.application_id:
            raise Refusal(403, 20012, "You are not authorized to perform this action on this application")

    def bulk_set_application_commands(self, arguments, body, files, query):
        self.own(arguments)
        return self.world.set_commands(body or [])

    def list_application_commands(self, arguments, body, files, query):
        self.own(arguments)
        return self.world.commands

    def get_channel(self, arguments, body, files, query):
        return self.world.shown(self.world.channel(arguments["channel_id"]))

    def list_guild_channels(self, arguments, body, files, query):
        if arguments["guild_id"] != self.world.guild_id:
            raise Refusal(404, 10004, "Unknown Guild")
        return [self.world.shown(one) for one in self.world.channels.values() if one["type"] == 0]

    def create_dm(self, arguments, body, files, query):
        for user in self.world.people.values():
            if user["id"] == body.get("recipient_id"):
                return self.world.shown(self.world.dm_of(user))
        raise Refusal(400, 50033, "Invalid Recipient(s)")

    def list_messages(self, arguments, body, files, query):
        channel = self.world.channel(arguments["channel_id"])
        seen = [m for m in self.world.messages[channel["id"]].values() if not m["flags"] & EPHEMERAL]
        limit = int(query.get("limit", 50))
        if "after" in query:
            seen = [m for m in seen if int(m["id"]) > int(query["after"])][:limit]
        elif "before" in query:
            seen = [m for m in seen if int(m["id"]) < int(query["before"])][-limit:]
        else:
            seen = seen[-limit:]
        return [self.told(message, True) for message in reversed(seen)]

    def get_message(self, arguments, body, files, query):
        channel = self.world.channel(arguments["channel_id"])
        return self.told(self.world.message(channel["id"], arguments["message_id"]), True)

    def create_message(self, arguments, body, files, query):
        channel = self.world.channel(arguments["channel_id"], posting=True)
        message, fresh = self.world.post(channel, body, files)
        if fresh:
            self.gateway.message("MESSAGE_CREATE", message)
        return self.told(message)

    def update_message(self, arguments, body, files, query):
        channel = self.world.channel(arguments["channel_id"])
        message = self.world.message(channel["id"], arguments["message_id"])
        self.world.change(message, body, files)
        self.gateway.message("MESSAGE_UPDATE", message)
        return self.told(message)

    def delete_message(self, arguments, body, files, query):
        channel = self.world.channel(arguments["channel_id"])
        self.world.message(channel["id"], arguments["message_id"])
        del self.world.messages[channel["id"]][arguments["message_id"]]
        return 204, None

    def create_thread(self, arguments, body, files, query):
        channel = self.world.channel(arguments["channel_id"])
        thread = self.world.add_channel(THREAD, body["name"], parent=channel["id"])
        return 201, self.world.shown(thread)

    def trigger_typing_indicator(self, arguments, body, files, query):
        self.world.channel(arguments["channel_id"])
        return 204, None

    def create_interaction_response(self, arguments, body, files, query):
        record = self.world.interactions.get(arguments["interaction_id"])
        if record is None or record["token"] != arguments["interaction_token"]:
            raise Refusal(404, 10062, "Unknown interaction")
        made = self.world.respond(record, body)
        self.tell(record, made)
        if query.get("with_response") != "true":
            return 204, None
        answer = {"interaction": {"id": record["id"], "type": record["kind"]}}
        if made is not None:
            answer["interaction"]["response_message_id"] = made["id"]
            answer["resource"] = {"type": body["type"], "message": self.told(made)}
        return answer

    def tell(self, record, made):
        if made is None or made["flags"] & EPHEMERAL:
            return
        if record["answer"] in (4, 5):
            self.gateway.message("MESSAGE_CREATE", made)
        elif record["answer"] == 7:
            self.gateway.message("MESSAGE_UPDATE", made)

    def execute_webhook(self, arguments, body, files, query):
        record = self.world.by_webhook(arguments["webhook_id"], arguments["webhook_token"])
        return self.told(self.world.follow_up(record, body, files))

    def original_of(self, arguments):
        record = self.world.by_webhook(arguments["webhook_id"], arguments["webhook_token"])
        made = record["original"]
        if made is None or made["id"] not in self.world.messages[made["channel_id"]]:
            raise Refusal(404, 10008, "Unknown Message")
        return record, made

    def get_original_webhook_message(self, arguments, body, files, query):
        return self.told(self.original_of(arguments)[1])

    def update_original_webhook_message(self, arguments, body, files, query):
        record, _ = self.original_of(arguments)
        message = self.world.fill(record, body, files)
        if not message["flags"] & EPHEMERAL:
            self.gateway.message("MESSAGE_UPDATE", message)
        return self.told(message)

    def delete_original_webhook_message(self, arguments, body, files, query):
        record, made = self.original_of(arguments)
        record["original"] = None
        del self.world.messages[made["channel_id"]][made["id"]]
        return 204, None

    def webhook_message(self, arguments):
        record = self.world.by_webhook(arguments["webhook_id"], arguments["webhook_token"])
        known = record["followups"] + ([record["original"]["id"]] if record["original"] else [])
        if arguments["message_id"] not in known:
            raise Refusal(404, 10008, "Unknown Message")
        return self.world.message(record["channel"]["id"], arguments["message_id"], ephemeral=True)

    def get_webhook_message(self, arguments, body, files, query):
        return self.told(self.webhook_message(arguments))

    def update_webhook_message(self, arguments, body, files, query):
        return self.told(self.world.change(self.webhook_message(arguments), body, files))

    def delete_webhook_message(self, arguments, body, files, query):
        message = self.webhook_message(arguments)
        del self.world.messages[message["channel_id"]][message["id"]]
        return 204, None
