# SPDX-License-Identifier: Apache-2.0
# The Cloud API: messages, media and the number, with their refusals and ordered faults.
import asyncio

from aiohttp import web

from common.faults import break_off, next_fault
from description import Description
from world import DISPLAY, Refusal

MAX_TEXT, MAX_FILE = 4096, 100 << 20


class Api:
    def __init__(self, world):
        self.world = world
        self.description = Description()
        self.faults, self.requests, self.violations, self.flaws = [], [], [], []

    def check_sender(self, request):
        if request.headers.get("Authorization") != "Bearer " + self.world.token:
            raise Refusal(401, 190, "Error validating access token: the session is invalid", error_subcode=463)
        if request.match_info["number"] != self.world.phone_id:
            raise Refusal(404, 803, "Phone number not found")

    def next_fault(self, route, kind):
        """{route, kind, skip, times, …}: kind error or error_after {status, code, message, text}, drop, drop_after, late {ms}, and of
        messages undelivered {code, title}: taken, and told later by a status not to have arrived. `except`: not of messages
        of that type."""
        return next_fault(self.faults, lambda fault: fault.get("route", route) == route and fault.get("except") != kind)

    def fault_answer(self, fault):
        if "text" in fault:
            return web.Response(status=fault["status"], text=fault["text"], content_type="text/html")
        more = {"is_transient": True} if fault["status"] in (429, 500, 503) else {}
        refusal = Refusal(fault["status"], fault.get("code", 2), fault.get("message", "as ordered"), **more)
        return web.json_response(refusal.body(), status=refusal.status)

    async def play(self, request, route, work, message=""):
        fault = self.next_fault(route, message)
        kind = fault.get("kind")
        if kind == "drop":
            break_off(request)
            return web.Response(status=500)
        if kind == "error":
            return self.fault_answer(fault)
        if kind == "late":
            await asyncio.sleep(fault["ms"] / 1000)
        try:
            self.check_sender(request)
            answer = await work()
            if kind == "undelivered":
                self.flaws += self.description.check_webhook(self.world.lose(answer["messages"][0]["id"], fault))
        except Refusal as refusal:
            body = refusal.body()
            self.flaws += self.description.check_error(body)
            return web.json_response(body, status=refusal.status)
        if kind == "drop_after":
            break_off(request)
        if kind == "error_after":
            return self.fault_answer(fault)
        return web.json_response(answer)

    async def number(self, request):
        async def work():
            known = {"id": self.world.phone_id, "display_phone_number": DISPLAY, "verified_name": "Berth", "quality_rating": "GREEN"}
            wanted = request.query.get("fields", "id,display_phone_number,verified_name,quality_rating").split(",")
            unknown = [name for name in wanted if name not in known]
            if unknown:
                raise Refusal(400, 100, "Tried accessing nonexisting field (%s)" % unknown[0])
            return {name: known[name] for name in ["id"] + wanted}
        return await self.play(request, "number", work)

    async def media(self, request):
        async def work():
            form = await request.post()
            file = form.get("file")
            unknown = set(form) - {"file", "type", "messaging_product"}
            if form.get("messaging_product") != "whatsapp" or not isinstance(file, web.FileField) or unknown:
                self.violations.append("media: %s" % sorted(form))
                raise Refusal(400, 100, "Invalid parameter")
            data = file.file.read()
            if not data or len(data) > MAX_FILE:
                raise Refusal(400, 131053, "Media upload error")
            identity = str(4490709327384033 + len(self.world.files))
            self.world.files[identity] = {"name": file.filename, "data": data, "type": form.get("type")}
            return {"id": identity}
        return await self.play(request, "media", work)

    async def messages(self, request):
        body = await request.json()

        async def work():
            self.requests.append(body)
            problems = self.description.check_message(body)
            if problems:
                self.violations += problems
                raise Refusal(400, 100, "Invalid parameter", error_user_msg="; ".join(problems)[:500])
            answer = self.take(body)
            self.flaws += self.description.check_answer(answer)
            return answer
        return await self.play(request, "messages", work, body.get("type", ""))

    def take(self, body):
        number = body["to"]
        person = self.world.people.get(number)
        if person is None:
            raise Refusal(400, 131026, "Message undeliverable")
        if person["blocked"]:
            raise Refusal(400, 131026, "Message undeliverable")
        if body["type"] != "template" and not self.world.window_open(number):
            raise Refusal(400, 131047, "Re-engagement message: more than 24 hours have passed since the customer last replied")
        shown = {"id": self.world.new_id(number), "bot": True, "text": "", "buttons": [], "file": None,
                 "answers": body.get("context", {}).get("message_id"), "template": None}
        getattr(self, "take_" + body["type"])(body[body["type"]], shown)
        self.world.add(number, shown)
        return {"messaging_product": "whatsapp", "contacts": [{"input": number, "wa_id": number}], "messages": [{"id": shown["id"]}]}

    def take_text(self, text, shown):
        body = text.get("body", "")
        if not body.strip():
            raise Refusal(400, 100, "The parameter text['body'] is required.")
        if len(body.encode("utf-16-le")) // 2 > MAX_TEXT:
            raise Refusal(400, 100, "Param text['body'] must be at most 4096 characters long.")
        shown["text"] = body

    def take_interactive(self, interactive, shown):
        action = interactive["action"]
        shown["text"] = interactive["body"]["text"]
        if not shown["text"].strip():
            raise Refusal(400, 131008, "Required parameter is missing: body")
        if interactive["type"] == "button":
            buttons = [(b["reply"]["id"], b["reply"]["title"]) for b in action["buttons"]]
        else:
            buttons = [(row["id"], row["title"]) for section in action["sections"] for row in section["rows"]]
        for part in (0, 1):
            if len({button[part] for button in buttons}) != len(buttons) or any(not button[part].strip() for button in buttons):
                raise Refusal(400, 131009, "Parameter value is not valid: buttons must be unique and not empty")
        shown["buttons"] = [title for _, title in buttons]
        shown["_ids"] = dict((title, identity) for identity, title in buttons)
        shown["_kind"] = "button_reply" if interactive["type"] == "button" else "list_reply"

    def take_document(self, document, shown):
        file = self.world.files.get(document.get("id"))
        if file is None:
            raise Refusal(400, 100, "The media id does not exist")
        shown["text"] = document.get("caption", "")
        shown["file"] = {"name": document.get("filename"), "text": file["data"].decode("utf-8", "replace")}

    def take_template(self, template, shown):
        known = self.world.templates.get(template["name"])
        if known is None or known["language"] != template["language"]["code"]:
            raise Refusal(404, 132001, "Template name does not exist in the translation")
        texts = [p["text"] for c in template.get("components", []) if c["type"] == "body" for p in c["parameters"]]
        if len(texts) != 1:
            raise Refusal(400, 132000, "Number of parameters does not match the expected number of params")
        if any(c in texts[0] for c in "\n\t") or "    " in texts[0] or len(texts[0]) > 1024:
            raise Refusal(400, 132007, "Template format character policy violated")
        shown["text"], shown["template"] = texts[0], template["name"]
        pressed = [c for c in template["components"] if c["type"] == "button"]
        right = [("quick_reply", str(index), ["payload"]) for index in range(len(known["buttons"]))]
        if [(c.get("sub_type"), c.get("index"), [p.get("type") for p in c["parameters"]]) for c in pressed] != right:
            raise Refusal(400, 132018, "Template parameters do not match the template's buttons")
        shown["buttons"] = known["buttons"]
        shown["_ids"] = {label: c["parameters"][0]["payload"] for label, c in zip(known["buttons"], pressed)}
        shown["_kind"] = "button"
