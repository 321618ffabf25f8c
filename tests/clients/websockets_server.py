"""An echo by the `websockets` library of Python, for our client: prints its port."""

import asyncio

import websockets


async def echo(ws):
    async for message in ws:
        if message == "ping":
            await asyncio.wait_for(await ws.ping(), 10)
        elif message == "close":
            await ws.close(4002, "as asked")
            return
        elif message == "fragments":
            await ws.send(["in ", "", "fragments"])
            continue
        await ws.send(message)


async def main():
    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.sleep(120)


asyncio.run(main())
