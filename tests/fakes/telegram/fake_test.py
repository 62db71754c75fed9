#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The fake Telegram's own behaviour: every refusal a bridge must understand, and every fault that can be ordered.
import threading
import time
import unittest

from fake_process import TOKEN, FakeProcess

from common.skipping import need


class FakeTest(unittest.TestCase):
    def setUp(self):
        self.fake = FakeProcess()
        self.addCleanup(self.fake.stop)

    def ok(self, method, **parameters):
        status, answer = self.fake.api(method, parameters)
        self.assertEqual((status, answer["ok"]), (200, True), answer)
        return answer["result"]

    def refused(self, method, code, words, **parameters):
        status, answer = self.fake.api(method, parameters)
        self.assertEqual((status, answer["error_code"], answer["ok"]), (code, code, False), answer)
        self.assertIn(words, answer["description"])
        return answer

    def say(self, text, chat=5, person=5, **more):
        return self.fake.control("say", {"chat": chat, "person": person, "text": text, **more})

    def end(self, violations=0):
        state = self.fake.control("state")
        self.assertEqual(state["flaws"], [])
        self.assertEqual(len(state["violations"]), violations, state["violations"])

    def test_polling_confirms_by_offset(self):
        first = self.say("one")["update"]
        self.say("two")
        self.assertEqual([u["message"]["text"] for u in self.ok("getUpdates")], ["one", "two"])
        self.assertEqual(len(self.ok("getUpdates", limit=1)), 1)
        self.assertEqual([u["message"]["text"] for u in self.ok("getUpdates", offset=first + 1)], ["two"])
        self.assertEqual(self.ok("getUpdates", offset=first + 2), [])
        self.fake.control("redeliver", {"count": 1})
        self.assertEqual([u["message"]["text"] for u in self.ok("getUpdates", offset=first)], ["two"])
        self.end()

    def test_a_second_poller_ends_the_first(self):
        answers = []
        first = threading.Thread(target=lambda: answers.append(self.fake.api("getUpdates", {"timeout": 9})))
        first.start()
        while self.fake.control("state")["polls"] < 1:
            time.sleep(0.01)
        self.ok("getUpdates")
        first.join(5)
        self.assertEqual(answers[0][0], 409)
        self.assertIn("terminated by other getUpdates", answers[0][1]["description"])
        self.ok("setWebhook", url="http://127.0.0.1:1/")
        self.refused("getUpdates", 409, "webhook is active")
        self.ok("deleteWebhook")
        self.assertEqual(self.ok("getUpdates"), [])
        self.end()

    def test_texts_and_their_limits(self):
        self.say("hello")
        sent = self.ok("sendMessage", chat_id=5, text="<b>a</b> &lt; <code>b</code>", parse_mode="HTML")
        self.assertEqual(sent["text"], "a < b")
        self.assertEqual([e["type"] for e in sent["entities"]], ["bold", "code"])
        face = "\U0001F600"
        self.ok("sendMessage", chat_id=5, text="<b>" + face * 2048 + "</b>", parse_mode="HTML")
        self.refused("sendMessage", 400, "message is too long", chat_id=5, text=face * 2049)
        self.refused("sendMessage", 400, "message text is empty", chat_id=5, text="<b> </b>", parse_mode="HTML")
        for bad in ("<b>x", "x</b>", "<x>y</x>", "<b><i>x</b></i>", "<b><code>x</code></b>",
                    "<blockquote><blockquote>x</blockquote></blockquote>", "a < b"):
            self.refused("sendMessage", 400, "can't parse entities", chat_id=5, text=bad, parse_mode="HTML")
        self.refused("sendMessage", 400, "chat not found", chat_id=77, text="x")
        self.refused("sendMessage", 400, "nonsense is not in the description", chat_id=5, text="x", nonsense=1)
        self.refused("sendMessage", 400, "text must be String", chat_id=5, text=7)
        self.refused("sendMessage", 400, "text is missing", chat_id=5)
        self.end(violations=3)

    def test_keyboards_clicks_and_edits(self):
        self.say("hello")
        keyboard = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y" * 64, "style": "success"}]]}
        sent = self.ok("sendMessage", chat_id=5, text="sure?", reply_markup=keyboard)
        self.ok("getUpdates")
        click = self.fake.control("click", {"chat": 5, "person": 5, "message": sent["message_id"], "button": "Yes"})
        query = self.ok("getUpdates")[-1]["callback_query"]
        self.assertEqual((query["id"], query["data"]), (click["query"], "y" * 64))
        self.ok("answerCallbackQuery", callback_query_id=query["id"], text="done")
        self.refused("answerCallbackQuery", 400, "query is too old", callback_query_id=query["id"])
        where = {"chat_id": 5, "message_id": sent["message_id"]}
        self.refused("editMessageText", 400, "message is not modified", text="sure?", reply_markup=keyboard, **where)
        self.ok("editMessageText", text="decided", **where)
        self.assertEqual(self.fake.send("POST", "/_fake/click", {
            "chat": 5, "person": 5, "message": sent["message_id"], "button": "Yes"})[0], 404)
        self.refused("editMessageText", 400, "message to edit not found", chat_id=5, message_id=999, text="x")
        self.refused("editMessageText", 400, "message can't be edited", chat_id=5, message_id=1, text="x")
        long = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y" * 65}]]}
        self.refused("sendMessage", 400, "BUTTON_DATA_INVALID", chat_id=5, text="x", reply_markup=long)
        self.end()

    def test_chats_that_refuse(self):
        self.say("hello")
        self.fake.control("block", {"chat": 5})
        self.refused("sendMessage", 403, "bot was blocked by the user", chat_id=5, text="x")
        self.fake.control("chat", {"id": -7, "title": "old"})
        self.fake.control("upgrade", {"chat": -7, "to": -1007})
        moved = self.refused("sendMessage", 400, "upgraded to a supergroup", chat_id=-7, text="x")
        self.assertEqual(moved["parameters"], {"migrate_to_chat_id": -1007})
        self.ok("sendMessage", chat_id=-1007, text="x")
        self.fake.control("chat", {"id": -1008, "title": "forum", "forum": True, "topics": [3]})
        self.assertTrue(self.ok("sendMessage", chat_id=-1008, text="x", message_thread_id=3)["is_topic_message"])
        self.refused("sendMessage", 400, "thread not found", chat_id=-1008, text="x", message_thread_id=4)
        self.end()

    def test_privacy_of_groups(self):
        self.fake.control("chat", {"id": -1007})
        for text in ("chatter", "/run x", "hi @berth_test_bot", "/help@another_bot"):
            self.say(text, chat=-1007)
        self.assertEqual([u["message"]["text"] for u in self.ok("getUpdates")], ["/run x", "hi @berth_test_bot"])
        self.end()

    def test_files(self):
        self.say("hello")
        body = b"".join([
            b'--xx\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n5\r\n',
            b'--xx\r\nContent-Disposition: form-data; name="document"; filename="a.txt"\r\n',
            b"Content-Type: application/octet-stream\r\n\r\nlines\r\n--xx--\r\n"])
        status, answer = self.fake.send("POST", "/bot%s/sendDocument" % TOKEN, body,
                                        {"Content-Type": "multipart/form-data; boundary=xx"})
        self.assertEqual((status, answer["result"]["document"]["file_name"]), (200, "a.txt"))
        self.assertEqual(self.fake.control("chat/5")["messages"][-1]["file"], {"name": "a.txt", "text": "lines"})
        self.end()

    def test_who_does_not_wait_is_noticed(self):
        self.say("hello")
        self.fake.control("faults", [{"method": "sendMessage", "kind": "error", "status": 429, "retry_after": 5}])
        self.refused("sendMessage", 429, "retry after 5", chat_id=5, text="1")
        time.sleep(0.2)
        self.fake.api("sendChatAction", {"chat_id": 5, "action": "typing"})
        self.assertEqual([], self.fake.control("state")["violations"])
        self.fake.api("sendMessage", {"chat_id": 5, "text": "1"})
        self.assertIn("asked for 5.00 s", self.fake.control("state")["violations"][0])

    def test_ordered_faults(self):
        self.say("hello")
        self.fake.control("faults", [
            {"method": "sendMessage", "kind": "error", "status": 429, "retry_after": 3, "unwatched": True},
            {"method": "sendMessage", "kind": "error", "status": 502, "text": "<html>Bad Gateway</html>"},
            {"method": "sendMessage", "kind": "error_after", "status": 500},
            {"method": "sendMessage", "kind": "drop"}, {"method": "sendMessage", "kind": "drop_after"},
            {"method": "sendMessage", "kind": "late", "ms": 100}])
        limited = self.refused("sendMessage", 429, "retry after 3", chat_id=5, text="1")
        self.assertEqual(limited["parameters"], {"retry_after": 3})
        self.assertEqual(self.fake.api("sendMessage", {"chat_id": 5, "text": "2"}), (502, "<html>Bad Gateway</html>"))
        self.refused("sendMessage", 500, "Internal", chat_id=5, text="3")
        self.assertIsNone(self.fake.api("sendMessage", {"chat_id": 5, "text": "4"}))
        self.assertIsNone(self.fake.api("sendMessage", {"chat_id": 5, "text": "5"}))
        start = time.monotonic()
        self.ok("sendMessage", chat_id=5, text="6")
        self.assertGreater(time.monotonic() - start, 0.1)
        self.assertEqual([m["text"] for m in self.fake.control("chat/5")["messages"]], ["hello", "3", "5", "6"])
        self.end()

    def test_tokens(self):
        self.assertEqual(self.fake.api("getMe", token="1:wrong")[0], 401)
        self.assertEqual(self.fake.api("getMe", token="nonsense")[0], 404)
        answers = []
        poll = threading.Thread(target=lambda: answers.append(self.fake.api("getUpdates", {"timeout": 9})))
        poll.start()
        while self.fake.control("state")["polls"] < 1:
            time.sleep(0.01)
        self.fake.control("token", {"token": "700100200:another"})
        poll.join(5)
        self.assertEqual(answers[0][0], 401)


if __name__ == "__main__":
    need("aiohttp")
    unittest.main(verbosity=1)
