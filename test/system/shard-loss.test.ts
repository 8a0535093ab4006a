/** Both copies of every shard are lost with their disks, and the event stream no longer reaches back: the instances tell all anew. */
import { expect, test } from "vitest";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { FlowAnswer } from "../../src/flow/answer.ts";
import type { FlowKey } from "../../src/flow/flow.ts";
import { shardOf } from "../../src/placement/shard.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import { compareWithTrackers, Traffic, together } from "../support/flow-traffic.ts";
import { ip } from "../support/flows.ts";
import { startNatsServer } from "../support/nats-server.ts";
import { temporaryDirectory } from "../support/tracker.ts";
import { trackerProcess } from "../support/tracker-process.ts";

const shards = 4;
const eventsPerSecond = 1_000;
const names = ["tracker1", "tracker2"] as const;
const keysAsked = 50;
const timeoutMs = 120_000;

const signal = AbortSignal.timeout(timeoutMs - 10_000);
const until = (condition: () => boolean | Promise<boolean>, what: string): Promise<true> =>
  waitFor(condition, { signal, timeoutMs: 30_000, what, intervalMs: 20 });

/** One in each shard, of 203.0.113.<from> and those after it. */
function addressInEachShard(from: number): [IpAddress, ...IpAddress[]] {
  const all = Array.from({ length: 100 }, (_, n) => ip(`203.0.113.${from + n}`));
  const found = Array.from({ length: shards }, (_, shard) => all.find((address) => shardOf(address, shards) === shard));
  const [one, ...more] = found.filter((address) => address !== undefined);
  if (one === undefined || more.length !== shards - 1) throw new Error("a shard has no address");
  return [one, ...more];
}

/** As when its messages have expired: only the last one is left. */
async function forgetStream(bus: NatsBus): Promise<void> {
  const manager = await (await bus.connection(signal)).jetstreamManager();
  const { state } = await manager.streams.info("BATON_FLOWS");
  await manager.streams.purge("BATON_FLOWS", { seq: state.last_seq });
}

test("shards of which every copy is lost are told anew, and count as whole only when every instance has told all (L5)", {
  timeout: timeoutMs,
}, async () => {
  await using nats = await startNatsServer();
  await using directory = await temporaryDirectory();
  await using cleanUp = new AsyncDisposableStack();
  const options = { servers: nats.servers, shards, listed: names };
  const trackers = await Promise.all(names.map((name) => trackerProcess(directory, name, options)));
  for (const tracker of trackers) cleanUp.use(tracker);
  await Promise.all(trackers.map((tracker) => tracker.start()));
  await using bus = connectBus({ servers: nats.servers, name: "test" });
  using client = new TrackerClient(trackers.map(({ endpoint }) => endpoint));
  const common = { bus, shards, eventsPerSecond };
  const [ofTalker, ofSilent] = [addressInEachShard(1), addressInEachShard(101)];
  await using talker = new Traffic({ ...common, instance: "vm-a", addresses: ofTalker });
  await using silent = new Traffic({ ...common, instance: "vm-b", addresses: ofSilent });
  const [stopTalker, stopSilent] = [new AbortController(), new AbortController()];
  const running = [talker.run(stopTalker.signal), silent.run(stopSilent.signal)];
  const seen = new Set<FlowAnswer["kind"]>();
  const kindsOf = async (keys: readonly FlowKey[]): Promise<ReadonlySet<FlowAnswer["kind"]>> => {
    const kinds = new Set((await client.lookup(keys, [], { signal })).map(({ kind }) => kind));
    for (const kind of kinds) seen.add(kind);
    return kinds;
  };
  const areOwned = async (keys: readonly FlowKey[]): Promise<boolean> => {
    const kinds = await kindsOf(keys);
    return kinds.size === 1 && kinds.has("owned");
  };
  try {
    await until(() => talker.events > 2_000 && silent.events > 2_000, "events");
    stopSilent.abort();
    await running[1];
    // It lives, as what it says now and then shows; but for now it does not answer.
    silent.isDeaf = true;
    await Promise.all(trackers.map((tracker) => tracker.lose()));
    await forgetStream(bus);
    await silent.barrier(signal);

    const starting = Promise.all(trackers.map((tracker) => tracker.start()));
    const [told, untold] = [talker.lasting.slice(0, keysAsked), silent.lasting.slice(0, keysAsked)];
    await until(() => areOwned(told), "the flows of who answers");
    await starting;
    expect(await kindsOf(untold)).toEqual(new Set(["unknown"]));
    expect(await client.count({}, { signal })).toMatchObject({ complete: false });

    silent.hear();
    await until(() => areOwned(untold), "the flows of who has been silent");
    await until(async () => (await client.count({}, { signal })).complete, "all shards to be whole");
    expect(seen).toEqual(new Set(["unknown", "owned"]));
    for (const tracker of trackers) expect(tracker.log()).toContain("built anew");
  } finally {
    stopTalker.abort();
    stopSilent.abort();
    await Promise.all(running);
  }
  const addresses = [...ofTalker, ...ofSilent];
  expect(await compareWithTrackers(together([talker, silent]), addresses, client, signal)).toEqual([]);
});
