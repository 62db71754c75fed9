#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A stateful, strict WhatsApp for tests: the Cloud API and its webhooks on one port of loopback.
"""usage: fake.py --token TOKEN --app-secret SECRET --phone-id ID [--port PORT]

Prints {"port": …} and serves until its standard input ends: it never outlives who started it.
API: http://127.0.0.1:PORT/v23.0/<phone id>/…; control: /_fake/… (see README.md).
"""
import argparse
import asyncio
import json
import socket
import sys

from aiohttp import web

from api import Api
from control import Control
from world import World


@web.middleware
async def errors_as_json(request, handler):
    try:
        return await handler(request)
    except (KeyError, ValueError, AttributeError, TypeError, IndexError) as error:
        if request.path.startswith("/_fake/"):
            return web.json_response({"error": repr(error)}, status=400)
        request.app["api"].flaws.append("%s: %r" % (request.path, error))
        return web.json_response({"error": {"message": "the fake: %r" % error, "type": "fake", "code": 1}}, status=500)


async def serve(arguments):
    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=256)
    world = World(arguments.token, arguments.app_secret, arguments.phone_id)
    api = Api(world)
    control = Control(world, api)
    app = web.Application(middlewares=[errors_as_json], client_max_size=128 << 20)
    app["api"] = api
    app.add_routes(control.routes())
    app.add_routes([web.post("/{version}/{number}/messages", api.messages), web.post("/{version}/{number}/media", api.media),
                    web.get("/{version}/{number}", api.number)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listener, shutdown_timeout=0.2).start()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    delivering = asyncio.ensure_future(control.run_webhook())
    ended = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), watch_input, ended)
    await ended
    delivering.cancel()
    if control.http is not None:
        await control.http.close()
    await runner.cleanup()


def watch_input(ended):
    if not sys.stdin.buffer.raw.read(1024) and not ended.done():
        ended.set_result(None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--token", required=True)
    parser.add_argument("--app-secret", required=True)
    parser.add_argument("--phone-id", required=True)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))
