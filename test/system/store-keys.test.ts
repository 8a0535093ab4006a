/** The bucket of a cluster on a real NATS server: a key is one writer's, once (SPEC F4). */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KvBucket } from "../../src/bus/kv.ts";
import { connectBus } from "../../src/bus/nats.ts";
import { startNatsServer } from "../support/nats-server.ts";

const writers = 8;
const signal = AbortSignal.timeout(60_000);
const bytes = (text: string): Uint8Array => Buffer.from(text);

describe("the keys of the store", () => {
  const cleanUp = new AsyncDisposableStack();
  let buckets: readonly KvBucket[];

  beforeAll(async () => {
    const nats = cleanUp.use(await startNatsServer());
    buckets = await Promise.all(
      Array.from({ length: writers }, async (_, index) => {
        const bus = cleanUp.use(connectBus({ servers: nats.servers, name: `writer ${index}` }));
        return await KvBucket.open(await bus.connection(signal), 1);
      }),
    );
  });
  afterAll(async () => {
    await cleanUp.disposeAsync();
  });

  /** Every key with all that was ever written to it while somebody watched. */
  async function contents(): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    const complete = new AbortController();
    await buckets[0]?.watch(
      ({ key, value }) => void found.set(key, Buffer.from(value ?? []).toString()),
      () => complete.abort(),
      AbortSignal.any([complete.signal, signal]),
    );
    return found;
  }

  test("are created by one of all that want them at once, and the others are told that they are taken (F4)", async () => {
    const created = await Promise.all(
      buckets.map((bucket, index) => bucket.create("lease.1", bytes(`writer ${index}`), signal)),
    );
    const winners = created.flatMap(({ kind }, index) => (kind === "created" ? [index] : []));
    expect(winners).toHaveLength(1);
    expect(created.filter(({ kind }) => kind === "taken")).toHaveLength(writers - 1);
    expect((await contents()).get("lease.1")).toBe(`writer ${winners[0]}`);
  });

  test("are never written by who comes later, not even with the same words as before (F4)", async () => {
    const [first, second] = buckets;
    expect(await first?.create("remap.r.1", bytes("as it was"), signal)).toMatchObject({ kind: "created" });
    for (const text of ["otherwise", "as it was"])
      expect(await second?.create("remap.r.1", bytes(text), signal)).toEqual({ kind: "taken" });
    expect((await contents()).get("remap.r.1")).toBe("as it was");
  });
});
