/** What a leader does about the store beside its own writes. */
import pino from "pino";
import { beforeEach, describe, expect, it } from "vitest";
import { encodeEpoch, epochKey } from "../../../src/bus/epoch-record.ts";
import { type LeaderOptions, takeOver } from "../../../src/coordinator/leader.ts";
import { Mirror } from "../../../src/coordinator/mirror.ts";
import { encodeEntry, leaseKey, remapKey } from "../../../src/coordinator/stored.ts";
import type { LayoutMap } from "../../../src/placement/layout.ts";
import { ip, prefix } from "../../support/fake-cluster.ts";

const process = "p1";
const lease = encodeEntry({ leader: "c1", endpoint: "e", process, beat: 0, released: false }, process);

const address = ip("203.0.113.10");
const holders = Array.from({ length: 8 }, () => ({ primary: { name: "t1", endpoint: "t1:1" } }));
const epoch = (number: bigint, buckets: number): Uint8Array =>
  encodeEpoch({ epoch: number, holders, layouts: new Map([[address, { buckets, generation: 1 }]]) }, "w");

describe("a leader", () => {
  let mirror: Mirror;
  let resigned: string[];
  let relayed: () => LayoutMap;

  beforeEach(async () => {
    mirror = new Mirror();
    resigned = [];
    mirror.apply({ key: leaseKey(3n), value: lease, revision: 1 });
    mirror.apply({ key: epochKey(1n), value: epoch(1n, 4), revision: 1 });
    mirror.noteComplete();
    const end = new AbortController();
    const term = {
      term: 3n,
      lease: process,
      revision: 1,
      signal: end.signal,
      held: () => true,
      resign: (reason: string) => {
        resigned.push(reason);
        end.abort(new Error(reason));
      },
    };
    const options = {
      name: "c1",
      process,
      shards: 8,
      mirror,
      projection: { fabric: [prefix("10.77.0.0/24")], publicPrefixes: [], probeSource: ip("192.0.2.1") },
      bounds: { preparingMs: 1, armingMs: 1 },
      clock: { nowMs: () => 0, monotonicMs: () => 0 },
      events: { remapChanged: () => undefined, takenOver: () => undefined },
      log: pino({ level: "silent" }),
    };
    const { cluster } = await takeOver(term, options as unknown as LeaderOptions);
    relayed = () => cluster.layouts;
  });

  it("reads the store anew when a write of an earlier leader comes late (R13)", () => {
    mirror.apply({ key: remapKey("r1", 1), value: encodeEntry({}, "p0 2"), revision: 2 });
    expect(resigned).toEqual(["remap.r1.1 was written by an earlier leader: reading the store anew"]);
    mirror.apply({ key: remapKey("r2", 1), value: encodeEntry({}, "p0 2"), revision: 3 });
    expect(resigned).toHaveLength(1);
  });

  it("knows by the watch of its own lease in which shards the flows of addresses lie, and never goes back (K5)", () => {
    expect(relayed().get(address)).toMatchObject({ buckets: 4 });
    mirror.apply({ key: epochKey(3n), value: epoch(3n, 2), revision: 2 });
    mirror.apply({ key: epochKey(2n), value: epoch(2n, 8), revision: 3 });
    mirror.apply({ key: epochKey(4n), value: Buffer.from("{"), revision: 4 });
    mirror.apply({ key: epochKey(1n), revision: 5 });
    expect(relayed().get(address)).toMatchObject({ buckets: 2 });
  });

  it("takes its own writes, renewals of leases and removed keys for nothing new", () => {
    mirror.apply({ key: remapKey("r1", 1), value: encodeEntry({}, `${process} 3`), revision: 2 });
    mirror.apply({ key: leaseKey(2n), value: encodeEntry({}, "p0"), revision: 3 });
    mirror.apply({ key: remapKey("r0", 1), revision: 4 });
    expect(resigned).toEqual([]);
  });
});
