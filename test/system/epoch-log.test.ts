/** The log of epochs on a real store, of which somebody else has removed the old ones. */
import { expect, test } from "vitest";
import { encodeEpoch, epochKey } from "../../src/bus/epoch-record.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { KvEpochLog } from "../../src/bus/kv-epoch-log.ts";
import { connectBus } from "../../src/bus/nats.ts";
import { assignShards } from "../../src/placement/assignment.ts";
import { startNatsServer } from "../support/nats-server.ts";
import { quietLog } from "../support/tracker.ts";

const shards = 4;
const trackers = [{ name: "tracker1", endpoint: "10.77.0.31:7410" }];
const newest = 1_200n;
const firstKept = 201n;

test("nothing is created before all that is stored was read: a number that was removed stays taken (H7)", async () => {
  const signal = AbortSignal.timeout(20_000);
  await using cleanUp = new AsyncDisposableStack();
  const nats = cleanUp.use(await startNatsServer());
  const bus = cleanUp.use(connectBus({ servers: nats.servers, name: "test" }));
  const bucket = await KvBucket.open(await bus.connection(signal), 1);
  for (const epoch of [firstKept, newest])
    await bucket.create(epochKey(epoch), encodeEpoch(assignShards(epoch, shards, trackers), "another"), signal);

  const epochs = new KvEpochLog({ bus, replicas: 1, shards, log: quietLog, onMalformed: (key) => expect.fail(key) });
  const stop = new AbortController();
  const creating = epochs.create(assignShards(1n, shards, trackers), signal);
  const running = epochs.run(stop.signal);
  expect(await creating).toBe("taken");
  expect(epochs.current?.epoch).toBe(newest);
  expect(await bucket.create(epochKey(1n), new Uint8Array(), signal)).toMatchObject({ kind: "created" });
  stop.abort();
  await running;
}, 30_000);
