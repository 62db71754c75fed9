# SPDX-License-Identifier: Apache-2.0
# What the fake knows: people and when they last spoke, messages, files, templates, and webhooks on their way.
import time

WINDOW = 24 * 3600
DISPLAY = "15550783881"


class Refusal(Exception):
    """An error of the Graph API."""

    def __init__(self, status, code, words, **more):
        super().__init__(words)
        self.status, self.code, self.words, self.more = status, code, words, more

    def body(self):
        return {"error": {"message": "(#%d) %s" % (self.code, self.words), "type": "OAuthException", "code": self.code,
                          "fbtrace_id": "AXsgnV2Cm3ZMGF3dF", **self.more}}


class World:
    def __init__(self, token, app_secret, phone_id):
        self.token, self.app_secret, self.phone_id = token, app_secret, phone_id
        self.people, self.messages, self.files, self.templates = {}, {}, {}, {}
        self.webhook, self.pending, self.delivered = None, [], []
        self.next = 1

    def person(self, number, name=None):
        return self.people.setdefault(number, {"name": name or "person%s" % number[-2:], "spoke": None, "blocked": False})

    def new_id(self, person):
        self.next += 1
        return "wamid.HBgL%sFQIAERgS%06d" % (person, self.next)

    def window_open(self, number):
        spoke = self.people[number]["spoke"]
        return spoke is not None and time.time() - spoke < WINDOW

    def add(self, person, message):
        self.messages.setdefault(person, []).append(message)
        return message

    def lose(self, identity, error):
        """A message that was taken did not arrive: it stands nowhere, and Meta tells so."""
        number = next(n for n, shown in self.messages.items() if any(m["id"] == identity for m in shown))
        self.messages[number] = [m for m in self.messages[number] if m["id"] != identity]
        return self.tell(number, identity, "failed", error)

    def tell(self, number, identity, status, error=None):
        told = {"id": identity, "status": status, "timestamp": str(int(time.time())), "recipient_id": number}
        if status == "failed":
            title = error.get("title", "Message undeliverable")
            told["errors"] = [{"code": error["code"], "title": title, "message": title, "error_data": {"details": "As ordered."}}]
        return self.push({"statuses": [told]})

    def push(self, value):
        """A webhook as Meta posts it."""
        payload = {"object": "whatsapp_business_account", "entry": [{"id": "419561257915477", "changes": [
            {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": {
                "display_phone_number": DISPLAY, "phone_number_id": self.phone_id}, **value}}]}]}
        self.pending.append(payload)
        return payload

    def arrive(self, number, message):
        person = self.person(number)
        person["spoke"] = time.time()
        message = {"from": number, "id": self.new_id(number), "timestamp": str(int(time.time())), **message}
        self.add(number, {"id": message["id"], "bot": False, "text": message.get("text", {}).get("body", ""), "_raw": message})
        return self.push({"contacts": [{"profile": {"name": person["name"]}, "wa_id": number}], "messages": [message]}), message
