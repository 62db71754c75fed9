#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A stateful, strict Discord for tests: REST, Gateway and signed interactions on one port of loopback.
"""usage: fake.py --token TOKEN [--port PORT]

Prints {"port": …} and serves until its standard input ends: it never outlives who started it.
API: http://127.0.0.1:PORT/api/v10; control: /_fake/… (see README.md).
"""
import os
import sys

from aiohttp import web

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))  # common/
from common.loop import run, unplayed  # noqa: E402
from control import Control  # noqa: E402
from gateway import Gateway  # noqa: E402
from rest import Api  # noqa: E402
from world import World  # noqa: E402


def refuse(words):
    return web.json_response({"message": words, "code": 0}, status=501)


def make(url, options):
    world = World(options.token, url)
    gateway = Gateway(world)
    api = Api(world, gateway)
    control = Control(world, api, gateway)
    app = web.Application(middlewares=[unplayed(api.flaws, refuse)], client_max_size=32 << 20)
    for prefix in ("/gateway", "/resume"):  # the address to resume at is another one
        app.router.add_get(prefix, gateway.handle)
        app.router.add_get(prefix + "/", gateway.handle)
    app.add_routes(control.routes())
    app.router.add_route("*", "/api/v10/{rest:.*}", api.handle)

    async def end():
        for session in gateway.live():
            session.socket.drop()
        await control.caller.close()
    return app, end


if __name__ == "__main__":
    run(__doc__, ["--token"], make)
