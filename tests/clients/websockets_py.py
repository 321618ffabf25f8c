"""Messages of all sizes, fragments, pings and compression, by the `websockets` library of Python."""

import asyncio
import sys

import websockets


async def speak(uri, **options):
    async with websockets.connect(uri, max_size=None, **options) as ws:
        for size in (0, 1, 125, 126, 65535, 65536, 900000):
            await ws.send("x" * size)
            assert await ws.recv() == "x" * size, size
            await ws.send(bytes(range(256)) * (size // 256))
            assert await ws.recv() == bytes(range(256)) * (size // 256), size
        await ws.send(["frag", "ments", " h\u00e9"])
        assert await ws.recv() == "fragments h\u00e9"
        await asyncio.wait_for(await ws.ping(), 10)
        await ws.close(4000, "done")
        assert ws.close_code == 4000, ws.close_code
        return ws


async def main():
    uri = f"ws://127.0.0.1:{sys.argv[1]}/"
    await speak(uri, compression=None)
    await speak(uri, compression="deflate")
    async with websockets.connect(uri, subprotocols=["v3", "v1"]) as ws:
        assert ws.subprotocol == "v1", ws.subprotocol
    try:
        await websockets.connect(uri, origin="https://evil.example")
        raise AssertionError("a strange page may connect")
    except websockets.InvalidStatus as refused:
        assert refused.response.status_code == 403


asyncio.run(main())
