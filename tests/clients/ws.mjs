// Messages of all sizes, fragments, pings and compression, by the `ws` library of Node.
import assert from 'node:assert';
import { createRequire } from 'node:module';

const WebSocket = createRequire(`${process.env.NODE_PATH}/`)('ws');
const uri = `ws://127.0.0.1:${process.argv[2]}/`;

async function speak(options) {
  const ws = new WebSocket(uri, ['v2'], { maxPayload: 0, ...options });
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject));
  assert.equal(ws.protocol, 'v2');
  const next = () => new Promise((resolve) => ws.once('message', (data, binary) => resolve([data, binary])));
  for (const size of [0, 1, 125, 126, 65535, 65536, 900000]) {
    for (const binary of [false, true]) {
      const sent = Buffer.alloc(size, 'x');
      const got = next();
      ws.send(sent, { binary });
      const [data, isBinary] = await got;
      assert.equal(isBinary, binary);
      assert.ok(data.equals(sent), `${size}`);
    }
  }
  const got = next();
  ws.send('frag', { fin: false });
  ws.send('ments', { fin: true });
  assert.equal((await got)[0].toString(), 'fragments');
  const pong = new Promise((resolve) => ws.once('pong', resolve));
  ws.ping('p');
  assert.equal((await pong).toString(), 'p');
  const closed = new Promise((resolve) => ws.once('close', resolve));
  ws.close(4000, 'done');
  assert.equal(await closed, 4000);
}

await speak({ perMessageDeflate: false });
await speak({ perMessageDeflate: true });
await speak({ perMessageDeflate: { clientMaxWindowBits: 10, threshold: 0 } });
