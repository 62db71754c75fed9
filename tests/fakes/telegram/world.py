# SPDX-License-Identifier: Apache-2.0
# What the fake knows: the bot, people, chats, their messages, and the updates that wait for the bot.
import time

from entities import typed_entities

DAY = 24 * 3600


class Refusal(Exception):
    """An answer that is not ok, in Telegram's words."""

    def __init__(self, code, words, **parameters):
        super().__init__(words)
        self.code, self.words, self.parameters = code, words, parameters


class World:
    def __init__(self, token):
        self.token = token
        self.bot = {"id": int(token.split(":")[0]), "is_bot": True, "first_name": "Berth", "username": "berth_test_bot",
                    "can_join_groups": True, "can_read_all_group_messages": False, "supports_inline_queries": False}
        self.chats, self.messages, self.people = {}, {}, {}
        self.updates, self.confirmed, self.next_update = [], [], 700_000_001
        self.queries, self.commands = {}, []
        self.webhook, self.webhook_error = None, None
        self.next_message, self.next_query = 1, 1

    # --- people and chats --------------------------------------------------------------------------
    def person(self, who):
        """`who`: an id, or {id, name, is_bot}."""
        who = who if isinstance(who, dict) else {"id": who}
        name = who.get("name", "person%d" % who["id"])
        known = self.people.setdefault(who["id"], {
            "id": who["id"], "is_bot": who.get("is_bot", False), "first_name": name.capitalize(), "username": name})
        return known

    def chat(self, number, create=True):
        """A private chat is there from the first word of its person; groups are made by control."""
        if number not in self.chats and number > 0 and create:
            user = self.person(number)
            self.chats[number] = {"id": number, "type": "private", "first_name": user["first_name"],
                                  "username": user["username"]}
        return self.chats.get(number)

    def make_group(self, number, title, forum=False, topics=()):
        chat = {"id": number, "type": "supergroup" if str(number).startswith("-100") else "group", "title": title}
        if forum:
            chat["is_forum"] = True
        self.chats[number] = chat
        self.messages.setdefault(number, {})
        chat["_topics"] = set(topics)
        return chat

    @staticmethod
    def public(item):
        """A chat or message as it travels: what begins with _ is the fake's own."""
        if isinstance(item, dict):
            return {key: World.public(value) for key, value in item.items() if not key.startswith("_")}
        return [World.public(one) for one in item] if isinstance(item, list) else item

    def place(self, number, thread=None):
        """The chat a message may go to; Refusal as Telegram words it."""
        chat = self.chats.get(number)
        if chat is None:
            raise Refusal(400, "Bad Request: chat not found")
        if chat.get("_moved"):
            raise Refusal(400, "Bad Request: group chat was upgraded to a supergroup chat",
                          migrate_to_chat_id=chat["_moved"])
        if chat.get("_blocked"):
            words = "bot was blocked by the user" if chat["type"] == "private" else "bot was kicked from the %s chat" % chat["type"]
            raise Refusal(403, "Forbidden: " + words)
        if thread is not None and thread not in chat.get("_topics", ()):
            raise Refusal(400, "Bad Request: message thread not found")
        return chat

    # --- messages ----------------------------------------------------------------------------------
    def add_message(self, chat, sender, thread=None, **content):
        message = {"message_id": self.next_message, "from": sender, "chat": chat, "date": int(time.time()), **content}
        if thread is not None:
            message["message_thread_id"] = thread
            message["is_topic_message"] = True
        self.next_message += 1
        message["_edits"] = 0
        self.messages.setdefault(chat["id"], {})[message["message_id"]] = message
        return message

    def say(self, chat, user, text, thread=None, reply_to=None, **more):
        entities = typed_entities(text)
        content = {"text": text, **more}
        if entities:
            content["entities"] = entities
        if reply_to is not None:
            answered = dict(self.messages[chat["id"]][reply_to])
            answered.pop("reply_to_message", None)
            content["reply_to_message"] = answered
        return self.add_message(chat, user, thread, **content)

    def edit(self, message, text, entities, markup):
        same = (message.get("text"), message.get("entities", []), message.get("reply_markup")) == (text, entities, markup)
        if same:
            raise Refusal(400, "Bad Request: message is not modified: specified new message content and reply markup "
                               "are exactly the same as a current content and reply markup of the message")
        message["text"] = text
        for name, value in (("entities", entities or None), ("reply_markup", markup)):
            message.pop(name, None)
            if value is not None:
                message[name] = value
        message["edit_date"] = int(time.time())
        message["_edits"] += 1

    def message(self, chat, number, what):
        message = self.messages.get(chat["id"], {}).get(number)
        if message is None:
            raise Refusal(400, "Bad Request: message to %s not found" % what)
        if message["from"]["id"] != self.bot["id"]:
            raise Refusal(400, "Bad Request: message can't be %sed" % what.rstrip("e"))
        return message

    # --- updates -----------------------------------------------------------------------------------
    def push(self, kind, payload):
        update = {"update_id": self.next_update, kind: self.public(payload)}
        self.next_update += 1
        self.updates.append((time.time(), update))
        return update["update_id"]

    def waiting(self, offset):
        """Forgets what `offset` confirms (and what is a day old) and gives the rest."""
        if offset < 0:
            offset = self.updates[offset][1]["update_id"] if len(self.updates) >= -offset else 0
        oldest = time.time() - DAY
        self.confirmed += [u for at, u in self.updates if u["update_id"] < offset]
        self.updates = [(at, u) for at, u in self.updates if u["update_id"] >= offset and at > oldest]
        return [u for _, u in self.updates]

    def push_query(self, user, message, data):
        query = {"id": str(9_000_000_000 + self.next_query), "from": user, "message": message,
                 "chat_instance": str(1 + abs(message["chat"]["id"])), "data": data}
        self.next_query += 1
        self.queries[query["id"]] = {"answer": None, "made": time.time()}
        self.push("callback_query", query)
        return query["id"]
