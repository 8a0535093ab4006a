/** Where a client of the trackers goes: by the assignment with the highest epoch that it was told of (SPEC L4). */
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type BarrierRequest, type BarrierResponse, TrackerServiceService } from "../../../src/gen/baton/v1/tracker.ts";
import type { Assignment } from "../../../src/placement/assignment.ts";
import { unary } from "../../../src/rpc/client.ts";
import { fromServiceError } from "../../../src/rpc/errors.ts";
import { assignmentToProto } from "../../../src/rpc/flow-codec.ts";
import { type Reply, streamHandler, unaryHandler } from "../../../src/rpc/handler.ts";
import { type GrpcServer, serveGrpc } from "../../../src/rpc/server.ts";
import { TrackerDirectory } from "../../../src/rpc/tracker-directory.ts";
import { type TestDirectory, temporaryDirectory } from "../../support/tracker.ts";

/** Says who holds the only shard, and answers barriers when it is said to hold it itself. */
class FakeTracker implements AsyncDisposable {
  readonly endpoint: string;
  readonly name: string;
  assignment: Assignment;
  /** Refuses this many barriers, although it holds the shard. */
  refusals = 0;
  /** Answers no barrier, as when nothing that is sent to it arrives. */
  isSilent = false;
  assignmentsTold = 0;
  barriers = 0;
  #server: GrpcServer | undefined;

  constructor(directory: TestDirectory, name: string) {
    this.name = name;
    this.endpoint = `unix:${join(directory.path, name)}`;
    this.assignment = this.#heldBy(1n, this);
  }

  /** From now on this one believes that, in this epoch, `holder` has the shard. */
  believe(epoch: bigint, holder: FakeTracker): void {
    this.assignment = this.#heldBy(epoch, holder);
  }

  async start(): Promise<this> {
    const onBug = (error: unknown): void => {
      throw error;
    };
    const unused = unaryHandler(() => Promise.reject(new Error("not asked for in this test")), onBug);
    const streamless = streamHandler(() => [] as never, onBug);
    const implementation = {
      lookupFlows: unused,
      countFlows: unused,
      listFlows: streamless,
      watchFlows: streamless,
      barrier: unaryHandler((_: BarrierRequest, { signal }) => this.#barrier(signal), onBug),
      getAssignment: unaryHandler(async () => {
        this.assignmentsTold++;
        return { ok: true, value: assignmentToProto(this.assignment) } as const;
      }, onBug),
    };
    const { signal } = new AbortController();
    this.#server = await serveGrpc({
      endpoints: [this.endpoint],
      services: [[TrackerServiceService, implementation]],
      signal,
    });
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
  }

  async #barrier(signal: AbortSignal): Promise<Reply<BarrierResponse>> {
    this.barriers++;
    if (this.isSilent) await once(signal, "abort");
    const { epoch, holders } = this.assignment;
    const held = holders[0]?.primary.name === this.name;
    if (held && this.refusals-- <= 0) return { ok: true, value: { applied: [{ shard: 0, sequence: epoch }] } };
    const details = { epoch: String(epoch), leader: String(holders[0]?.primary.endpoint) };
    return { ok: false, error: { code: "SHARD_MOVED", message: "shard 0 is not held here", details } };
  }

  #heldBy(epoch: bigint, { name, endpoint }: FakeTracker): Assignment {
    return { epoch, holders: [{ primary: { name, endpoint } }] };
  }
}

describe("a client of the trackers", () => {
  let directory: TestDirectory;
  let trackers: FakeTracker[];
  let known: TrackerDirectory;

  beforeEach(async () => {
    directory = await temporaryDirectory();
    trackers = await Promise.all(["t1", "t2", "t3"].map((name) => new FakeTracker(directory, name).start()));
  });
  afterEach(async () => {
    known[Symbol.dispose]();
    for (const tracker of trackers) await tracker[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  /** The epoch in which the shard's holder answered; undefined: nobody did. */
  const ask = async (withinMs = 5_000): Promise<bigint | undefined> => {
    const bounds = { signal: new AbortController().signal, endMs: performance.now() + withinMs };
    const call = known.ask(0, bounds, (client, signal, deadlineMs) =>
      unary(client, "barrier", { positions: [] }, { signal, deadlineMs }),
    );
    return await call.then(
      ({ applied }) => applied[0]?.sequence,
      () => undefined,
    );
  };
  const all = (): [FakeTracker, FakeTracker, FakeTracker] => trackers as [FakeTracker, FakeTracker, FakeTracker];

  test("fetches the assignment anew when a refusal names a higher epoch, and finds the shard", async () => {
    const [t1, t2] = all();
    known = new TrackerDirectory([t1.endpoint]);
    expect(await ask()).toBe(1n);
    t1.believe(2n, t2);
    t2.believe(2n, t2);
    expect(await ask()).toBe(2n);
    expect([t1.barriers, t2.barriers]).toEqual([2, 1]);
  });

  test("asks on until somebody knows the epoch that was named", async () => {
    const [t1, t2, t3] = all();
    for (const tracker of [t1, t2, t3]) tracker.believe(1n, t1);
    known = new TrackerDirectory([t3.endpoint, t1.endpoint]);
    expect(await ask()).toBe(1n);
    t1.believe(2n, t2);
    t2.believe(2n, t2);
    expect(await ask()).toBe(2n);
  });

  test("waits for a holder that does not know of its epoch yet, and keeps its own knowledge", async () => {
    const [t1, t2] = all();
    t1.believe(2n, t2);
    known = new TrackerDirectory([t1.endpoint]);
    t2.believe(1n, t1);
    const answer = ask();
    while (t2.barriers === 0) await new Promise(setImmediate);
    t2.believe(2n, t2);
    expect(await answer).toBe(2n);
    expect(t1.assignmentsTold).toBe(1);
    expect(t1.barriers).toBe(0);
  });

  test.each(["alone", "with others"])(
    "asks %s for the assignment again after a holder was silent for all the time of a call (L7)",
    async (how) => {
      const [t1, t2, t3] = all();
      for (const tracker of [t2, t3]) tracker.believe(1n, t1);
      known = new TrackerDirectory([t2.endpoint]);
      t1.isSilent = true;
      const askOnce = (): Promise<unknown> => {
        const bounds = { signal: new AbortController().signal, endMs: performance.now() + 300 };
        return known.askOnce(0, bounds, (client, signal, deadlineMs) =>
          unary(client, "barrier", { positions: [] }, { signal, deadlineMs }),
        );
      };
      if (how === "alone") expect(await ask(300)).toBeUndefined();
      else await expect(askOnce()).rejects.toThrow("DEADLINE_EXCEEDED");
      t2.believe(2n, t3);
      t3.believe(2n, t3);
      expect(await ask(1_000)).toBe(2n);
    },
  );

  test("never goes back to an older assignment, also when nobody else answers", async () => {
    const [t1, t2, t3] = all();
    t1.believe(2n, t2);
    t2.believe(2n, t2);
    t3.believe(1n, t3);
    known = new TrackerDirectory([t1.endpoint, t3.endpoint]);
    expect(await ask()).toBe(2n);
    await t1[Symbol.asyncDispose]();
    await t2[Symbol.asyncDispose]();
    expect(await ask(800)).toBeUndefined();
    expect(t3.assignmentsTold).toBeGreaterThan(0);
    expect(t3.barriers).toBe(0);
    await t2.start();
    expect(await ask()).toBe(2n);
  });

  test("gives the refusal to its caller when it does not find the shard in time", async () => {
    const [t1, t2] = all();
    t1.believe(2n, t2);
    t2.believe(3n, t1);
    known = new TrackerDirectory([t1.endpoint, t2.endpoint]);
    const bounds = { signal: new AbortController().signal, endMs: performance.now() + 700 };
    const call = known.ask(0, bounds, (client, signal, deadlineMs) =>
      unary(client, "barrier", { positions: [] }, { signal, deadlineMs }),
    );
    const error = await call.then(() => undefined, fromServiceError);
    expect(error?.code).toBe("SHARD_MOVED");
    expect(t1.barriers + t2.barriers).toBeLessThan(10);
  });
});
