# SPDX-License-Identifier: Apache-2.0
# What the fake Slack remembers: channels, people, messages, files, modals, tokens and the faults that were ordered.
import itertools
import time

from common.faults import next_fault

TEAM = "T0BERTH001"
APP = "A0BERTH001"
BOT_USER = "U0BERTHBOT"
BOT_ID = "B0BERTHBOT"
BOT_TOKEN = "xoxb-of-the-tests-only-0123456789"
APP_TOKEN = "xapp-of-the-tests-only-0123456789"
SIGNING_SECRET = "signing-secret-of-the-tests-only"


class Refusal(Exception):
    """An answer {"ok": false, "error": code}."""

    def __init__(self, code, **more):
        super().__init__(code)
        self.code, self.more = code, more


class World:
    def __init__(self, url):
        self.url = url
        self.bot_token, self.app_token = BOT_TOKEN, APP_TOKEN
        self.channels = {}   # id -> {"id", "archived", "member", "messages": {ts: message}, "ephemeral": [..]}
        self.people = {}     # id -> name
        self.files = {}      # id -> {"name", "length", "bytes", "shared"}
        self.views = {}      # id -> {"view", "user", "open"}
        self.triggers = {}   # id -> (user, until)
        self.handles = {}    # path -> {"channel", "user", "left"}
        self.faults = []     # {"method", "kind", "skip", "times", ...}
        self.calls = []      # methods, in order
        self.flaws = []      # what the fake itself did wrong, and what it refused as malformed
        self.violations = []  # what its clients did against Slack's description
        self.events = []     # what happened to Socket Mode connections
        self.serial = itertools.count(1)

    # --- names ---------------------------------------------------------------------------------
    def number(self):
        return next(self.serial)

    def ts(self):
        return "%d.%06d" % (time.time(), self.number())

    def trigger(self, user):
        trigger = "%d.%d.%s" % (self.number(), 4000, "trigger")
        self.triggers[trigger] = (user, time.monotonic() + 3)
        return trigger

    def handle(self, kind, channel, user):
        path = "/respond/%s/%d" % (kind, self.number())
        self.handles[path] = {"channel": channel, "user": user, "left": 5}
        return self.url + path

    # --- people and places ---------------------------------------------------------------------
    def channel(self, name, make=False):
        if make and name not in self.channels:
            self.channels[name] = {"id": name, "archived": False, "member": True, "messages": {}, "ephemeral": []}
        return self.channels.get(name)

    def writable(self, name):
        channel = self.channels.get(name)
        if channel is None:
            raise Refusal("channel_not_found")
        if channel["archived"]:
            raise Refusal("is_archived")
        if not channel["member"]:
            raise Refusal("not_in_channel")
        return channel

    def person(self, user):
        return self.people.setdefault(user, "name-of-" + user.lower())

    # --- messages ------------------------------------------------------------------------------
    def post(self, channel, fields):
        ts = self.ts()
        message = {"type": "message", "ts": ts, **fields}
        channel["messages"][ts] = message
        return message

    def say(self, channel, user, text, thread=None):
        message = {"user": user, "text": text, "team": TEAM}
        if thread:
            message["thread_ts"] = thread
        return self.post(channel, message)

    # --- faults --------------------------------------------------------------------------------
    def fault(self, method):
        return next_fault(self.faults, lambda fault: fault["method"] in (method, "*"))
