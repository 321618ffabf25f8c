// node-redis against ping: with its defaults, and with each option that changes what it says first. usage: node_redis.mjs PORT
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url); // which heeds NODE_PATH
const { createClient } = require("redis");
const socket = { host: "127.0.0.1", port: Number(process.argv[2]), reconnectStrategy: false };

const options = [{}, { RESP: 2 }, { RESP: 3 }, { name: "me" }, { name: "me", RESP: 2 }, { database: 0 }, { pingInterval: 20 },
  { username: "default", password: "any" }, { clientInfoTag: "tests" }, { disableClientInfo: true }];
for (const option of options) {
  const client = createClient({ socket, ...option });
  client.on("error", (error) => { throw error; });
  await client.connect();
  assert.equal((await client.hello()).proto, option.RESP ?? 3);
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.echo("hi"), "hi");
  assert.equal(await client.ping("\r\n"), "\r\n");
  const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => client.echo(String(n))));
  assert.deepEqual(answers, Array.from({ length: 100 }, (_, n) => String(n)));
  assert.equal(await client.clientGetName(), option.name ?? null);
  assert.ok(await client.clientId() > 0);
  assert.match(await client.info(), /^loading:0\r$/m);
  assert.ok(Array.isArray(await client.command()));
  await new Promise((resolve) => setTimeout(resolve, 50)); // for pings of its own
  await client.close();
}

const client = await createClient({ socket }).on("error", () => {}).connect();
await assert.rejects(client.sendCommand(["ZZ", "key"]), { message: "ERR unknown command 'ZZ', with args beginning with: 'key' " });
await client.close();
for (const refused of [{ username: "bob", password: "any" }, { database: 1 }]) {
  await assert.rejects(createClient({ socket, ...refused }).on("error", () => {}).connect(), /WRONGPASS|DB index is out of range/);
}
console.log("node-redis", require("redis/package.json").version);
