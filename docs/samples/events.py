#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A subscriber in Python with the official client (PyPI: nats-py and nkeys): reads an org's events from its own
# durable, which keeps its place, with a credential of `berth events credentials`.
"""events.py URL CREDS_FILE DURABLE INBOX_PREFIX COUNT     prints COUNT events and returns"""
import asyncio
import sys

import nats


async def main(url, creds, durable, inbox_prefix, count):
    # Replies are heard nowhere else: the credential allows this inbox and no other.
    connection = await nats.connect(url, user_credentials=creds, inbox_prefix=inbox_prefix.encode())
    # The durable is bound, not made, which the credential does not allow.
    subscription = await connection.jetstream().pull_subscribe_bind(
        durable, stream="EVT", inbox_prefix=f"{inbox_prefix}.".encode()
    )
    seen = 0
    while seen < count:
        for message in await subscription.fetch(min(10, count - seen), timeout=30):
            headers = message.headers or {}
            # The payload is the protobuf message that ce-type names (schemas/berth); docs/events.md describes it.
            print(message.subject, headers.get("ce-type"), headers.get("ce-id"), len(message.data), "bytes", flush=True)
            # An event may come twice: remember ce-id, or compare `revision`, before you act. Then say that it is done.
            await message.ack()
            seen += 1
    await connection.close()


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:5], int(sys.argv[5])))
