# SPDX-License-Identifier: Apache-2.0
# What the control sides of the fake chat platforms have in common, and how a platform posts to whoever uses it.
import asyncio

from aiohttp import ClientError, ClientSession, ClientTimeout, web


class Control:
    """POST /_fake/<name> is the method of that name; `looks` has the paths of GET with theirs."""
    posts = ()
    looks = {}

    def __init__(self, world, api):
        self.world, self.api = world, api
        self.caller = Caller()

    def routes(self):
        return [web.post("/_fake/" + name, getattr(self, name)) for name in self.posts] + [
            web.get("/_fake/" + path, getattr(self, name)) for path, name in self.looks.items()]

    async def faults(self, request):
        """A list of faults for the schedule (see the fake's README.md); an empty one clears it."""
        order = await request.json()
        self.api.faults = self.api.faults + order if order else []
        return web.json_response({})

    async def token(self, request):
        """{token}: another one is valid from now on."""
        self.world.token = (await request.json())["token"]
        return web.json_response({})


class WebhookControl(Control):
    """Of a platform that posts to a webhook: in order, one at a time, again until it is taken. deliver_next() posts the
    first thing that waits and gives the seconds until the next look."""
    idle = 0.01
    retry = 0.05  # after a failure; the platforms' own are longer

    def start(self):
        """Delivers from now on; the function to be awaited at the end."""
        delivering = asyncio.ensure_future(self.run_webhook())

        async def end():
            delivering.cancel()
            await self.caller.close()
        return end

    async def run_webhook(self):
        while True:
            await asyncio.sleep(await self.deliver_next())


class Caller:
    """Requests of the platform's own."""

    def __init__(self):
        self.http = None

    async def send(self, method, url, seconds=10, **content):
        """(status, text) of the answer; (0, why) where none came."""
        if self.http is None:
            self.http = ClientSession()
        try:
            async with self.http.request(method, url, timeout=ClientTimeout(total=seconds), **content) as answer:
                return answer.status, await answer.text()
        except (ClientError, asyncio.TimeoutError) as error:
            return 0, str(error)

    async def close(self):
        if self.http is not None:
            await self.http.close()
