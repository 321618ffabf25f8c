// ioredis against ping: with its defaults, and with each option that changes what it says first. usage: ioredis.mjs PORT
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url); // which heeds NODE_PATH
const Redis = require("ioredis");
const at = { host: "127.0.0.1", port: Number(process.argv[2]), retryStrategy: null };

const options = [{}, { protocol: 2 }, { protocol: 3 }, { connectionName: "me" }, { connectionName: "me", protocol: 2 }, { db: 0 },
  { enableReadyCheck: false }, { enableAutoPipelining: true }, { username: "default", password: "any" }, { disableClientInfo: true }];
for (const option of options) {
  const client = new Redis({ ...at, ...option });
  client.on("error", (error) => { throw error; });
  assert.equal((await client.call("HELLO"))[5], option.protocol ?? 3);
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.echo("hi"), "hi");
  assert.equal(await client.ping("\r\n"), "\r\n");
  const pipeline = client.pipeline();
  for (let n = 0; n < 100; n++) pipeline.echo(String(n));
  assert.deepEqual(await pipeline.exec(), Array.from({ length: 100 }, (_, n) => [null, String(n)]));
  assert.equal(await client.client("GETNAME"), option.connectionName ?? null);
  assert.ok(await client.client("ID") > 0);
  assert.ok(Array.isArray(await client.command()));
  assert.equal(await client.quit(), "OK");
}

const client = new Redis(at);
await assert.rejects(client.call("ZZ", "key"), { message: "ERR unknown command 'ZZ', with args beginning with: 'key' " });
await assert.rejects(client.select(1), { message: "ERR DB index is out of range" });
await client.quit();
const stranger = new Redis({ ...at, username: "bob", password: "any" });
const why = await new Promise((resolve) => stranger.once("error", resolve));
assert.match(String(why), /WRONGPASS/);
stranger.disconnect();
console.log("ioredis", require("ioredis/package.json").version);
