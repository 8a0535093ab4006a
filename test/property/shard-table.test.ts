/**
 * The table of a shard against plain sets: instances open and end flows, restart, and take snapshots, while messages on
 * their way are repeated and lost.
 */

import fc from "fast-check";
import { expect, test } from "vitest";
import type { IpAddress } from "../../src/flow/address.ts";
import type { FlowEventBatch, FlowRow } from "../../src/flow/events.ts";
import { type FlowKey, flowKeyText } from "../../src/flow/flow.ts";
import { KeyDigest } from "../../src/flow/key-digest.ts";
import { FlowSequencer } from "../../src/flow/sequencer.ts";
import { Layouts } from "../../src/placement/layouts.ts";
import { ShardTable } from "../../src/tracker/table.ts";
import { ip, keyOf } from "../support/flows.ts";
import { packed } from "../support/packed.ts";

const instances = ["vm-a", "vm-b"] as const;
const addresses = [ip("203.0.113.10"), ip("203.0.113.11")] as const;
const states = ["half-open", "open", "closing"] as const;

class Instance {
  readonly name: string;
  readonly flows = new Map<string, FlowRow>();
  #boots = 0;
  #sequencer: FlowSequencer;

  constructor(name: string) {
    this.name = name;
    this.#sequencer = this.#boot();
  }

  put(key: FlowKey, state: (typeof states)[number]): void {
    const opens = !this.flows.has(flowKeyText(key));
    const row = { key, state, openedAtMs: 1_000 + key.peerPort, generation: 1n };
    this.flows.set(flowKeyText(key), row);
    this.#sequencer.change(0, { ...row, opens });
  }

  end(key: FlowKey): void {
    const row = this.flows.get(flowKeyText(key));
    if (row === undefined) return;
    this.flows.delete(flowKeyText(key));
    this.#sequencer.change(0, { ...row, state: "closed" });
  }

  snapshot(scope: readonly IpAddress[]): void {
    const isWanted = ({ key }: FlowRow) => scope.length === 0 || scope.includes(key.address);
    this.#sequencer.snapshot(0, scope, this.flows.values().filter(isWanted));
  }

  digest(): void {
    const digest = new KeyDigest();
    for (const { key } of this.flows.values()) digest.add(key);
    this.#sequencer.digest(0, digest);
  }

  /** Flows that end meanwhile are told of by nobody. */
  restart(whole: boolean, ended: readonly FlowKey[]): void {
    this.#sequencer = this.#boot();
    for (const key of ended) this.flows.delete(flowKeyText(key));
    if (whole) this.snapshot([]);
    else for (const address of addresses) this.snapshot([address]);
  }

  barrier(): void {
    this.#sequencer.barrier(0, "b");
  }

  /** Not more than so many: others may follow after further changes. */
  messages(max = Number.POSITIVE_INFINITY): FlowEventBatch[] {
    this.#sequencer.seal(0);
    const batches: FlowEventBatch[] = [];
    while (batches.length < max) {
      const taken = this.#sequencer.take(0);
      if (taken === undefined) break;
      batches.push(taken.batch);
    }
    return batches;
  }

  #boot(): FlowSequencer {
    const boot = `${this.name}${++this.#boots}`;
    return new FlowSequencer({ instance: this.name, boot, layouts: new Layouts(1), rowsMax: 2, bufferedMax: 1_000 });
  }
}

type Fate = "arrives" | "lost" | "twice" | "again later";
type Step =
  | { kind: "put"; state: (typeof states)[number] }
  | { kind: "end" }
  | { kind: "snapshot"; whole: boolean }
  | { kind: "restart"; whole: boolean }
  | { kind: "digest" }
  | { kind: "send"; fates: readonly Fate[]; max: number };

const who = fc.constantFrom(...instances);
const key = fc
  .tuple(fc.constantFrom(...addresses), fc.integer({ min: 1, max: 4 }))
  .map(([address, port]) => keyOf(port, address));
const fate = (lossy: boolean): fc.Arbitrary<Fate> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constant("arrives" as const) },
    { weight: 1, arbitrary: fc.constant("twice" as const) },
    { weight: 1, arbitrary: fc.constant("again later" as const) },
    { weight: lossy ? 2 : 0, arbitrary: fc.constant("lost" as const) },
  );
const step = (lossy: boolean): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("put" as const), state: fc.constantFrom(...states) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("end" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("snapshot" as const), whole: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("digest" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const), whole: fc.boolean() }) },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("send" as const),
        fates: fc.array(fate(lossy), { minLength: 1, maxLength: 4 }),
        max: fc.constantFrom(1, 2, 1_000),
      }),
    },
  );
const run = (lossy: boolean) => fc.array(fc.tuple(who, key, step(lossy)), { maxLength: 60 });

class World {
  readonly table = new ShardTable();
  readonly #instances = new Map(instances.map((name) => [name as string, new Instance(name)]));
  #position = 0n;
  #later: FlowEventBatch[] = [];

  take(name: string, flow: FlowKey, action: Step): void {
    const instance = this.instance(name);
    switch (action.kind) {
      case "put":
        instance.put(flow, action.state);
        break;
      case "end":
        instance.end(flow);
        break;
      case "snapshot":
        instance.snapshot(action.whole ? [] : [flow.address]);
        break;
      case "restart":
        instance.restart(action.whole, [flow]);
        break;
      case "send":
        this.send(name, action.fates, action.max);
        break;
      case "digest":
        instance.digest();
        break;
      default:
        action satisfies never;
    }
  }

  send(name: string, fates: readonly Fate[] = ["arrives"], max?: number): void {
    const late = this.#later.splice(0);
    for (const [index, batch] of this.instance(name).messages(max).entries()) {
      const end = fates[index % fates.length];
      if (end === "lost") continue;
      this.#arrive(batch);
      if (end === "twice") this.#arrive(batch);
      if (end === "again later") this.#later.push(batch);
    }
    for (const batch of late) this.#arrive(batch);
  }

  /** Everything is sent, whatever is missing is noticed, and whoever is asked sends a snapshot. */
  settle(): void {
    for (const name of instances) {
      this.instance(name).barrier();
      this.send(name);
    }
    for (const name of this.table.brokenSenders()) {
      this.instance(name).snapshot([]);
      this.send(name);
    }
  }

  expectEqual(): void {
    const claimed = [...this.#instances.values()].flatMap(({ name, flows }) =>
      [...flows.values()].map((row) => ({
        key: row.key,
        owner: name,
        state: row.state,
        openedAtMs: row.openedAtMs,
        generation: 1n,
      })),
    );
    const known = addresses.flatMap((address) => [...this.table.flowsOf({ address })]);
    const order = (flows: typeof claimed) =>
      flows.map((flow) => [`${flow.owner} ${flowKeyText(flow.key)}`, flow]).sort();
    expect(order(known as typeof claimed)).toEqual(order(claimed));
    expect(this.table.size).toBe(claimed.length);
    for (const { owner, address, flows, halfOpen } of this.table.counts()) {
      const own = claimed.filter((flow) => flow.owner === owner && flow.key.address === address);
      expect([flows, halfOpen]).toEqual([own.length, own.filter(({ state }) => state === "half-open").length]);
    }
    for (const flow of claimed) expect(this.table.find(flow.key).kind).toBe("owned");
  }

  instance(name: string): Instance {
    const instance = this.#instances.get(name);
    if (instance === undefined) throw new Error(name);
    return instance;
  }

  #arrive(batch: FlowEventBatch): void {
    this.#position += 1n;
    this.table.apply(this.#position, packed(batch));
  }
}

test("the table is what the instances hold as soon as their messages have arrived, however often they are repeated (E1, E3)", () => {
  fc.assert(
    fc.property(run(false), (steps) => {
      const world = new World();
      for (const [name, flow, action] of steps) {
        world.take(name, flow, action);
        if (action.kind !== "send") continue;
        for (const instance of instances) world.send(instance);
        if (world.table.brokenSenders().length === 0) world.expectEqual();
      }
      world.settle();
      world.expectEqual();
      expect(world.table.brokenSenders()).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

test("a digest finds nothing where nothing was lost, whatever is under way when it is taken", () => {
  fc.assert(
    fc.property(run(false), (steps) => {
      const world = new World();
      for (const [name, flow, action] of steps) {
        if (action.kind === "restart") continue;
        world.take(name, flow, action);
        expect(world.table.brokenSenders()).toEqual([]);
      }
    }),
    { numRuns: 500 },
  );
});

test("messages that are lost are always noticed, and one snapshot mends what they did", () => {
  fc.assert(
    fc.property(run(true), (steps) => {
      const world = new World();
      for (const [name, flow, action] of steps) world.take(name, flow, action);
      world.settle();
      expect(world.table.brokenSenders()).toEqual([]);
      world.expectEqual();
    }),
    { numRuns: 500 },
  );
});
