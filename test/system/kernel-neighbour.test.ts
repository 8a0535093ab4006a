import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FoundNeighbour, Neighbour } from "../../src/kernel/neighbour.ts";
import { Namespace } from "./kernel/namespace.ts";

interface Observed {
  before: FoundNeighbour | null;
  resolved: Neighbour;
  again: Neighbour;
  stale: FoundNeighbour;
  refreshed: Neighbour;
  resolved6: Neighbour;
  silent: Neighbour | null;
  silentMs: number;
  aborted: string;
  permanent: Neighbour;
  deleted: boolean[];
}

describe("neighbours", () => {
  const linkAddress = "02:00:00:00:00:12";
  let namespace: Namespace;
  let peer: Namespace;
  let observed: Observed;

  beforeAll(async () => {
    namespace = new Namespace("nb-a");
    peer = new Namespace("nb-b");
    namespace.connect("eth0", "10.77.0.11/24", peer, "eth0", "10.77.0.12/24");
    peer.ip(`link set eth0 address ${linkAddress}`);
    namespace.ip("addr add fd77::11/64 dev eth0 nodad");
    peer.ip("addr add fd77::12/64 dev eth0 nodad");
    observed = await namespace.script("neighbour.script.ts");
  });
  afterAll(() => {
    namespace?.[Symbol.dispose]();
    peer?.[Symbol.dispose]();
  });

  it("are resolved by the kernel on demand, over IPv4 and IPv6", () => {
    expect(observed.before).toBeNull();
    expect(observed.resolved.linkAddress).toBe(linkAddress);
    expect(observed.again).toEqual(observed.resolved);
    expect(observed.resolved6.linkAddress).toBe(linkAddress);
  });

  it("that are doubtful are asked again", () => {
    expect(observed.stale.state).toBe("doubtful");
    expect(observed.refreshed.linkAddress).toBe(linkAddress);
  });

  it("that do not answer are given up in time", () => {
    expect(observed.silent).toBeNull();
    expect(observed.silentMs).toBeLessThan(1_000);
    expect(observed.aborted).toContain("AbortError");
  });

  it("can be set for good, twice, and removed twice", () => {
    expect(observed.permanent.linkAddress).toBe("02:00:00:00:00:50");
    expect(observed.deleted).toEqual([true, false]);
  });
});
