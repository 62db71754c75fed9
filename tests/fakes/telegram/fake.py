#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A stateful, strict Telegram for tests: the Bot API on one port of loopback.
"""usage: fake.py --token TOKEN [--port PORT]

Prints {"port": …} and serves until its standard input ends: it never outlives who started it.
API: http://127.0.0.1:PORT/bot<token>/<method>; control: /_fake/… (see README.md).
"""
import os
import sys

from aiohttp import web

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))  # common/
from api import Api  # noqa: E402
from common.loop import run, unplayed  # noqa: E402
from control import Control  # noqa: E402
from world import Refusal, World  # noqa: E402


def refuse(words):
    return web.json_response({"ok": False, "error_code": 500, "description": words}, status=500)


def make(_, options):
    world = World(options.token)
    api = Api(world)
    control = Control(world, api)
    app = web.Application(middlewares=[unplayed(api.flaws, refuse, [Refusal])], client_max_size=64 << 20)
    app.add_routes(control.routes())
    app.router.add_route("*", "/bot{token}/{method}", api.handle)
    return app, control.start()


if __name__ == "__main__":
    run(__doc__, ["--token"], make)
