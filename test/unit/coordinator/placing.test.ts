import { expect, test } from "vitest";
import { placeShards } from "../../../services/coordinator/placing.ts";
import { MemoryBus } from "../../../src/bus/memory.ts";
import { assignShards } from "../../../src/placement/assignment.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { SharedEpochs } from "../../support/epochs.ts";
import { Believed, member } from "../../support/membership.ts";
import { countOf } from "../../support/placement.ts";
import { quietLog } from "../../support/tracker.ts";

const shards = 4;
const trackers = ["t1", "t2", "t3"].map((name) => ({ name, endpoint: `${name}:1` }));

test("a coordinator waits for the first epoch, then gives away what the dead had, and tells of it (H10, P5)", async () => {
  const signal = AbortSignal.timeout(30_000);
  const stop = new AbortController();
  const epochs = new SharedEpochs();
  const bus = new MemoryBus();
  const told: { readonly [field: string]: unknown }[] = [];
  using _listener = bus.listen("baton.cluster.shard-placed", (data) =>
    told.push(JSON.parse(Buffer.from(data).toString())),
  );
  const membership = new Believed(
    "c1",
    trackers.map(({ name }) => member(name)),
  );
  const moves: string[] = [];
  let asked = 0;
  const answering = new Set(["t1:1", "t2:1", "t3:1"]);
  const peers = {
    async report(endpoint: string) {
      asked++;
      const [name = ""] = endpoint.split(":");
      return answering.has(endpoint) ? { name, endpoint, epoch: 1n, replicas: new Map() } : undefined;
    },
    async *rows() {},
  };
  const running = placeShards(
    {
      ...{ name: "c1", shards, epochs: epochs.view(), membership, peers, bus, log: quietLog },
      clock: systemClock,
      random: () => 0,
      onMove: ({ reason }) => moves.push(reason.kind),
    },
    stop.signal,
  );
  const until = (what: string, condition: () => boolean) => waitFor(condition, { what, timeoutMs: 20_000, signal });
  await new Promise((resolve) => setImmediate(resolve));
  expect(epochs.created).toEqual([]);
  epochs.create(assignShards(1n, shards, trackers));
  await until("all to be seen and asked", () => asked >= trackers.length);
  membership.become([member("t1"), member("t2"), member("t3", "dead")]);
  membership.happens({ kind: "dead", member: member("t3", "dead") });
  answering.delete("t3:1");
  await until("nothing at t3", () => epochs.created.length > 1 && countOf(epochs.created.at(-1), "t3") === 0);
  expect(epochs.created[0]?.epoch).toBe(1n);
  expect(told).toContainEqual(expect.objectContaining({ event: "shard-placed", by: "c1", epoch: 2, from: "t3" }));
  expect(new Set(moves)).toEqual(new Set(["member-left", "promoted"]));
  stop.abort();
  await running;
});

test("a cluster of agents that may host, and of no other trackers, is begun by a coordinator (H10)", async () => {
  const signal = AbortSignal.timeout(30_000);
  const stop = new AbortController();
  const epochs = new SharedEpochs();
  const hosts = ["vm-a", "vm-b"].map((name) => ({ ...member(name), roles: ["tracker", "agent"] as const }));
  const peers = { report: async () => undefined, async *rows() {} };
  const running = placeShards(
    {
      ...{
        name: "c1",
        shards,
        epochs: epochs.view(),
        membership: new Believed("c1", hosts),
        peers,
        bus: new MemoryBus(),
      },
      ...{ clock: systemClock, log: quietLog, random: () => 0, onMove: () => undefined, beginMs: 20 },
    },
    stop.signal,
  );
  await waitFor(() => epochs.created.length > 0, { what: "the first epoch", timeoutMs: 20_000, signal });
  expect(epochs.created[0]?.epoch).toBe(1n);
  expect(["vm-a", "vm-b"].map((name) => countOf(epochs.created[0], name))).toEqual([shards, shards]);
  stop.abort();
  await running;
});
