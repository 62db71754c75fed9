#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A stateful, strict Slack for tests: Web API, Socket Mode and signed HTTP on one port of loopback.
"""usage: fake.py [--port PORT]

Prints {"port": …} and serves until its standard input ends: it never outlives who started it.
API: http://127.0.0.1:PORT/api/<method>; Socket Mode: ws://…/link/?ticket=…; control: /_fake/… (see README.md).
"""
import os
import sys

from aiohttp import web

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))  # common/
from api import Api  # noqa: E402
from common.loop import run, unplayed  # noqa: E402
from control import Control  # noqa: E402
from delivery import Delivery  # noqa: E402
from world import World  # noqa: E402


def refuse(words):
    return web.json_response({"ok": False, "error": words}, status=500)


def make(url, _):
    world = World(url)
    delivery = Delivery(world)
    api = Api(world, delivery)
    app = web.Application(middlewares=[unplayed(world.flaws, refuse)], client_max_size=64 << 20)
    for part in (Control(world, api, delivery), api, delivery):
        app.add_routes(part.routes())
    return app, delivery.stop


if __name__ == "__main__":
    run(__doc__, [], make)
