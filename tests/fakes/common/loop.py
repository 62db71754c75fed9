# SPDX-License-Identifier: Apache-2.0
# A fake on aiohttp: started with its arguments, told its port, answering what it does not play, ended by its parent.
import argparse
import asyncio
import json
import socket
import sys

from aiohttp import web

UNPLAYED = (KeyError, ValueError, AttributeError, TypeError, IndexError)


def run(doc, required, make):
    """`doc` is the usage, `required` the options without default; make(url, options) gives the application and what is to
    be awaited at the end. Prints {"port": …} and serves until the standard input ends: it never outlives who started it."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name in required:
        parser.add_argument(name, required=True)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args(), make))


async def serve(options, make):
    listener = socket.create_server(("127.0.0.1", options.port), backlog=256)
    port = listener.getsockname()[1]
    app, end = make("http://127.0.0.1:%d" % port, options)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listener, shutdown_timeout=0.2).start()
    print(json.dumps({"port": port}), flush=True)
    await input_ends()
    await end()
    await runner.cleanup()


async def input_ends():
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def watch():
        if not sys.stdin.buffer.raw.read(4096):
            loop.remove_reader(sys.stdin.fileno())
            ended.set_result(None)

    loop.add_reader(sys.stdin.fileno(), watch)
    await ended


def unplayed(flaws, answer, refusals=()):
    """A middleware: what the fake does not play counts among its `flaws` and is answered by answer(words); at the control
    side that and one of `refusals` is the test's mistake."""
    @web.middleware
    async def middleware(request, handler):
        try:
            return await handler(request)
        except UNPLAYED + tuple(refusals) as error:
            if request.path.startswith("/_fake/"):
                return web.json_response({"error": repr(error)}, status=400)
            flaws.append("%s %s: %r" % (request.method, request.path, error))
            return answer("the fake does not play this: %r" % error)
    return middleware
