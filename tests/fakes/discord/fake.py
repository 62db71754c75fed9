#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A stateful, strict Discord for tests: REST, Gateway and signed interactions on one port of loopback.
"""usage: fake.py --token TOKEN [--port PORT]

Prints {"port": …} and serves until its standard input ends: it never outlives who started it.
API: http://127.0.0.1:PORT/api/v10; control: /_fake/… (see README.md).
"""
import argparse
import asyncio
import json
import socket
import sys

from aiohttp import web

from control import Control
from gateway import Gateway
from rest import Api
from world import World


@web.middleware
async def errors_as_json(request, handler):
    try:
        return await handler(request)
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        if request.path.startswith("/_fake/"):
            return web.json_response({"error": repr(error)}, status=400)
        request.app["api"].flaws.append("%s %s: %r" % (request.method, request.path, error))
        return web.json_response({"message": "the fake does not play this: %r" % error, "code": 0}, status=501)


async def serve(arguments):
    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=256)
    port = listener.getsockname()[1]
    world = World(arguments.token, "http://127.0.0.1:%d" % port)
    gateway = Gateway(world)
    api = Api(world, gateway)
    control = Control(world, gateway, api)
    app = web.Application(middlewares=[errors_as_json], client_max_size=32 << 20)
    app["api"] = api
    for prefix in ("/gateway", "/resume"):  # the address to resume at is another one
        app.router.add_get(prefix, gateway.handle)
        app.router.add_get(prefix + "/", gateway.handle)
    app.add_routes(control.routes())
    app.router.add_route("*", "/api/v10/{rest:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listener, shutdown_timeout=0.2).start()
    print(json.dumps({"port": port}), flush=True)
    ended = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), watch_input, ended)
    await ended
    for session in gateway.live():
        session.socket.drop()
    if control.http is not None:
        await control.http.close()
    await runner.cleanup()


def watch_input(ended):
    if not sys.stdin.buffer.raw.read(4096) and not ended.done():
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        ended.set_result(None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--token", required=True)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
