#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A stateful, strict Slack for tests: Web API, Socket Mode and signed HTTP on one port of loopback.
"""usage: fake.py [--port PORT]

Prints {"port": …} and serves until its standard input ends: it never outlives who started it.
API: http://127.0.0.1:PORT/api/<method>; Socket Mode: ws://…/link/?ticket=…; control: /_fake/… (see README.md).
"""
import argparse
import asyncio
import json
import socket
import sys

from aiohttp import web

from api import Api
from control import Control
from delivery import Delivery
from world import World


@web.middleware
async def errors_as_json(request, handler):
    try:
        return await handler(request)
    except (KeyError, ValueError, AttributeError, TypeError, IndexError) as error:
        if not request.path.startswith("/_fake/"):
            request.app["world"].flaws.append("%s: %r" % (request.path, error))
        return web.json_response({"ok": False, "error": "fake: %r" % error}, status=500)


async def serve(arguments):
    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=256)
    world = World("http://127.0.0.1:%d" % listener.getsockname()[1])
    delivery = Delivery(world)
    app = web.Application(middlewares=[errors_as_json], client_max_size=64 << 20)
    app["world"] = world
    app.add_routes(Control(world, delivery).routes())
    app.add_routes(Api(world, delivery).routes())
    app.add_routes(delivery.routes())
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listener, shutdown_timeout=0.2).start()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    ended = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), watch_input, ended)
    await ended
    await delivery.stop()
    await runner.cleanup()


def watch_input(ended):
    if not sys.stdin.buffer.raw.read(1024) and not ended.done():
        ended.set_result(None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))
