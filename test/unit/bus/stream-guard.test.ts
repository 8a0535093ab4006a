import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { BusError } from "../../../src/bus/bus.ts";
import { StreamGuard, type StreamSighting } from "../../../src/bus/stream-guard.ts";
import { waitFor } from "../../../src/runtime/retry.ts";

const signal = AbortSignal.timeout(20_000);

class Rig {
  sighting: StreamSighting | undefined | Error = { identity: "a", last: 10n };
  looks = 0;
  readonly failures: string[] = [];
  readonly guard = new StreamGuard({
    see: async () => {
      this.looks++;
      if (this.sighting instanceof Error) throw this.sighting;
      return this.sighting;
    },
    intervalMs: 2,
  });

  watch(identity: string): Disposable {
    return this.guard.watch("S", identity, (error: BusError) => void this.failures.push(error.message));
  }

  async look(): Promise<void> {
    const after = this.looks + 2;
    await waitFor(() => this.looks >= after, { signal, timeoutMs: 5_000, what: "two looks" });
  }
}

test.each([
  ["is gone", undefined],
  ["is another one", { identity: "b", last: 20n }],
  ["has gone back", { identity: "a", last: 9n }],
] as const)("tells a consumer that its stream %s", async (what, sighting) => {
  const rig = new Rig();
  using _watch = rig.watch("a");
  await rig.look();
  expect(rig.failures).toEqual([]);
  rig.sighting = sighting;
  await waitFor(() => rig.failures.length > 0, { signal, timeoutMs: 5_000, what: "the consumer to be told" });
  await rig.look();
  expect(rig.failures).toEqual([`the stream S ${what}`]);
});

test("tells a consumer that began with an earlier stream, though the guard never saw that", async () => {
  const rig = new Rig();
  using _watch = rig.watch("before");
  await waitFor(() => rig.failures.length > 0, { signal, timeoutMs: 5_000, what: "the consumer to be told" });
});

test("says nothing while the bus can't be asked, and asks nothing without consumers", async () => {
  const rig = new Rig();
  rig.sighting = new Error("away");
  const watch = rig.watch("a");
  await rig.look();
  watch[Symbol.dispose]();
  const { looks } = rig;
  await delay(20);
  expect([rig.failures, rig.looks]).toEqual([[], looks]);
});
