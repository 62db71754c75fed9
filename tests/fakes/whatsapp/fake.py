#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A stateful, strict WhatsApp for tests: the Cloud API and its webhooks on one port of loopback.
"""usage: fake.py --token TOKEN --app-secret SECRET --phone-id ID [--port PORT]

Prints {"port": …} and serves until its standard input ends: it never outlives who started it.
API: http://127.0.0.1:PORT/v23.0/<phone id>/…; control: /_fake/… (see README.md).
"""
import os
import sys

from aiohttp import web

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))  # common/
from api import Api  # noqa: E402
from common.loop import run, unplayed  # noqa: E402
from control import Control  # noqa: E402
from world import World  # noqa: E402


def refuse(words):
    return web.json_response({"error": {"message": words, "type": "fake", "code": 1}}, status=500)


def make(_, options):
    world = World(options.token, options.app_secret, options.phone_id)
    api = Api(world)
    control = Control(world, api)
    app = web.Application(middlewares=[unplayed(api.flaws, refuse)], client_max_size=128 << 20)
    app.add_routes(control.routes())
    app.add_routes([web.post("/{version}/{number}/messages", api.messages), web.post("/{version}/{number}/media", api.media),
                    web.get("/{version}/{number}", api.number)])
    return app, control.start()


if __name__ == "__main__":
    run(__doc__, ["--token", "--app-secret", "--phone-id"], make)
