/** What a leader does about the store beside its own writes. */
import pino from "pino";
import { beforeEach, describe, expect, it } from "vitest";
import { type LeaderOptions, takeOver } from "../../../src/coordinator/leader.ts";
import { Mirror } from "../../../src/coordinator/mirror.ts";
import { encodeEntry, leaseKey, remapKey } from "../../../src/coordinator/stored.ts";
import { ip, prefix } from "../../support/fake-cluster.ts";

const process = "p1";
const lease = encodeEntry({ leader: "c1", endpoint: "e", process, beat: 0, released: false }, process);

describe("a leader", () => {
  let mirror: Mirror;
  let resigned: string[];

  beforeEach(async () => {
    mirror = new Mirror();
    resigned = [];
    mirror.apply({ key: leaseKey(3n), value: lease, revision: 1 });
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
      mirror,
      projection: { fabric: [prefix("10.77.0.0/24")], publicPrefixes: [], probeSource: ip("192.0.2.1") },
      bounds: { preparingMs: 1, armingMs: 1 },
      clock: { nowMs: () => 0, monotonicMs: () => 0 },
      events: { remapChanged: () => undefined, takenOver: () => undefined },
      log: pino({ level: "silent" }),
    };
    await takeOver(term, options as unknown as LeaderOptions);
  });

  it("reads the store anew when a write of an earlier leader comes late (R13)", () => {
    mirror.apply({ key: remapKey("r1", 1), value: encodeEntry({}, "p0 2"), revision: 2 });
    expect(resigned).toEqual(["remap.r1.1 was written by an earlier leader: reading the store anew"]);
    mirror.apply({ key: remapKey("r2", 1), value: encodeEntry({}, "p0 2"), revision: 3 });
    expect(resigned).toHaveLength(1);
  });

  it("takes its own writes, renewals of leases and removed keys for nothing new", () => {
    mirror.apply({ key: remapKey("r1", 1), value: encodeEntry({}, `${process} 3`), revision: 2 });
    mirror.apply({ key: leaseKey(2n), value: encodeEntry({}, "p0"), revision: 3 });
    mirror.apply({ key: remapKey("r0", 1), revision: 4 });
    expect(resigned).toEqual([]);
  });
});
