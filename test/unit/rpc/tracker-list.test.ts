/** A list of one peer's flows among very many others of the same address: others have their turn meanwhile. */
import { join } from "node:path";
import { expect, test } from "vitest";
import type { FlowKey } from "../../../src/flow/flow.ts";
import { rowWords, writeRowWords } from "../../../src/flow/flow-words.ts";
import { TrackerServiceClient } from "../../../src/gen/baton/v1/tracker.ts";
import { dial, serverStream } from "../../../src/rpc/client.ts";
import { serveGrpc } from "../../../src/rpc/server.ts";
import { trackerService } from "../../../src/rpc/tracker-server.ts";
import { passedMax } from "../../../src/tracker/slab-view.ts";
import { ShardTable } from "../../../src/tracker/table.ts";
import type { Tracker } from "../../../src/tracker/tracker.ts";
import { ip, publicAddress } from "../../support/flows.ts";
import { temporaryDirectory } from "../../support/tracker.ts";

const others = 100_000;
const peer = ip("192.0.2.77");
const wanted = [0, 60_000, others];

/** The wanted peer's flows lie at the beginning, amid the others, and at the end. */
function filled(): ShardTable {
  const table = new ShardTable();
  const words = new Uint32Array(rowWords);
  const fill = (key: FlowKey): void => {
    writeRowWords({ key, state: "open", openedAtMs: 1, generation: 1n }, words);
    table.restoreFlow("vm-a", publicAddress, words, 0);
  };
  const keyOf = (from: string, peerPort: number): FlowKey => {
    return { address: publicAddress, protocol: "tcp", peer: ip(from), peerPort, port: 80 };
  };
  for (let n = 0; n <= others; n++) {
    if (wanted.includes(n)) fill(keyOf(peer, 1_000 + wanted.indexOf(n)));
    if (n < others) fill(keyOf(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, 5_000));
  }
  table.restored();
  return table;
}

test("a list of one peer's flows among a hundred thousand has all of them, and pauses while it passes over the others", async () => {
  const signal = AbortSignal.timeout(30_000);
  const table = filled();
  const all = table.flowsOf.bind(table);
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    if (isOver) return;
    turns++;
    setImmediate(count);
  };
  table.flowsOf = function* (query) {
    setImmediate(count);
    yield* all(query);
    isOver = true;
  };
  const tracker = { shards: 1, assignment: undefined, replica: () => ({ shard: 0, table }) } as unknown as Tracker;
  const bugs: unknown[] = [];
  const onBug = (error: unknown): void => void bugs.push(error);
  const service = trackerService({ tracker, store: { rows: () => expect.fail() }, onBug, onLookup: () => {} });
  await using directory = await temporaryDirectory();
  const endpoint = `unix:${join(directory.path, "tracker")}`;
  await using _server = await serveGrpc({ endpoints: [endpoint], services: [service], signal });
  const client = dial(TrackerServiceClient, endpoint);
  try {
    const ports: number[] = [];
    const request = { address: publicAddress, owner: "", peer, limit: 0, atLeast: [], of: undefined };
    for await (const { flows } of serverStream(client, "listFlows", request, { signal }))
      for (const { key } of flows) ports.push(key?.peerPort ?? 0);
    expect(ports).toEqual(wanted.map((_, index) => 1_000 + index));
  } finally {
    client.close();
  }
  expect(bugs).toEqual([]);
  expect(turns).toBeGreaterThanOrEqual(Math.floor(others / passedMax) - wanted.length);
});
