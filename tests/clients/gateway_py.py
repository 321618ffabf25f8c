"""Messages of the gateway, by the `websockets` library of Python: with a token as browsers and as programs send it."""

import asyncio
import json
import sys
import urllib.request

import websockets

port, publisher, subscriber = sys.argv[1:]


def publish(message):
    url = f"http://127.0.0.1:{port}/publish/news"
    request = urllib.request.Request(url, data=message, headers={"Authorization": f"Bearer {publisher}"})
    return json.load(urllib.request.urlopen(request))


async def main():
    uri = f"ws://127.0.0.1:{port}/subscribe/news"
    headers = {"Authorization": f"Bearer {subscriber}"}
    async with (
        websockets.connect(uri, subprotocols=["bearer", subscriber]) as script,
        websockets.connect(uri, additional_headers=headers) as program,
    ):
        assert script.subprotocol == "bearer", script.subprotocol
        # The answer to the handshake is out before the subscription, which the same turn makes.
        while (await asyncio.to_thread(publish, b"begin"))["reached"] < 2:
            pass
        told = await asyncio.to_thread(publish, "h\u00e9llo".encode())
        assert told["reached"] == 2, told
        told = await asyncio.to_thread(publish, bytes(range(256)))
        for ws in (script, program):
            message = await ws.recv()
            while message == "begin":
                message = await ws.recv()
            assert message == "h\u00e9llo", message
            assert await ws.recv() == bytes(range(256))
            await asyncio.wait_for(await ws.ping(), 60)
    try:
        await websockets.connect(uri)
        raise AssertionError("nobody may subscribe without a token")
    except websockets.InvalidStatus as refused:
        assert refused.response.status_code == 401


asyncio.run(main())
