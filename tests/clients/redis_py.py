"""redis-py against ping: with its defaults, and with each option that changes what it says first. usage: redis_py.py PORT"""
import asyncio
import sys

import redis
import redis.asyncio

at = {"host": "127.0.0.1", "port": int(sys.argv[1]), "socket_timeout": 10}
options = [
    {},
    {"protocol": 2},
    {"protocol": 3},
    {"client_name": "me"},
    {"client_name": "me", "protocol": 2},
    {"db": 0},
    {"username": "default", "password": "any"},
    {"username": "default", "password": "any", "protocol": 2},
    {"health_check_interval": 1},
    {"single_connection_client": True},
    {"decode_responses": True},
]


def protocol(client):
    said = client.execute_command("HELLO")
    said = dict(zip(said[::2], said[1::2])) if isinstance(said, list) else said
    return said[b"proto"] if b"proto" in said else said["proto"]


for option in options:
    client = redis.Redis(**at, **option)
    assert protocol(client) == option.get("protocol", 3), option
    assert client.ping() is True, option
    assert client.echo("hi") in (b"hi", "hi"), option
    assert client.echo("\r\n") in (b"\r\n", "\r\n"), option
    pipeline = client.pipeline(transaction=False)
    for _ in range(100):
        pipeline.ping().echo("x")
    assert pipeline.execute() in ([True, b"x"] * 100, [True, "x"] * 100), option
    assert client.client_getname() in ((b"me", "me") if "client_name" in option else (None,)), option
    assert client.client_id() > 0 and client.info()["loading"] == 0 and client.select(0), option
    assert isinstance(client.command(), dict), option
    client.close()


def refused(error, text, ask):
    try:
        ask()
    except error as why:
        assert text in str(why), why
    else:
        raise AssertionError(f"no {error.__name__}")


client = redis.Redis(**at)
refused(redis.ResponseError, "unknown command 'ZZ', with args beginning with: 'key'", lambda: client.execute_command("ZZ", "key"))
refused(redis.ResponseError, "DB index is out of range", lambda: redis.Redis(**at, db=1).ping())
refused(redis.ResponseError, "cannot contain spaces", lambda: client.client_setname("a b"))
for protocol in (2, 3):
    stranger = redis.Redis(**at, username="bob", password="any", protocol=protocol)
    refused(redis.AuthenticationError, "invalid username-password pair", stranger.ping)


async def together():
    client = redis.asyncio.Redis(**at, max_connections=20)
    assert await asyncio.gather(*(client.echo(str(n)) for n in range(20))) == [str(n).encode() for n in range(20)]
    await client.aclose()


asyncio.run(together())
print("redis-py", redis.__version__)
