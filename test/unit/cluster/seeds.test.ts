import { describe, expect, it } from "vitest";
import { literalSeeds, watchSeeds } from "../../../src/cluster/seeds.ts";
import { createLog } from "../../../src/runtime/log.ts";

const log = createLog({ service: "test", name: "test", level: "error" });

describe("seeds", () => {
  it("that are addresses need no look-up", async () => {
    expect(literalSeeds(["10.0.0.1:7420", "tracker1:7420", "[fd00::1]:7420"])).toEqual([
      "10.0.0.1:7420",
      "[fd00::1]:7420",
    ]);
    const resolve = () => Promise.reject(new Error("not to be asked"));
    const signal = new AbortController().signal;
    await watchSeeds({ seeds: ["10.0.0.1:7420"], resolve, onSeeds: () => expect.unreachable(), log, signal });
  });

  it("by name are looked up until they are found, and those that are found are used meanwhile", async () => {
    const stop = new AbortController();
    const told: (readonly string[])[] = [];
    let asked = 0;
    const resolve = (host: string): Promise<readonly string[]> => {
      if (host === "late" && ++asked < 2) return Promise.reject(new Error("no such name"));
      return Promise.resolve(host === "late" ? ["10.0.0.3", "fd00::3"] : ["10.0.0.2"]);
    };
    const onSeeds = (seeds: readonly string[]): void => {
      told.push(seeds);
      if (told.length === 2) stop.abort();
    };
    const seeds = ["10.0.0.1:1", "there:2", "late:3"];
    await watchSeeds({ seeds, resolve, onSeeds, log, signal: stop.signal });
    expect(told).toEqual([
      ["10.0.0.1:1", "10.0.0.2:2"],
      ["10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3", "[fd00::3]:3"],
    ]);
  });
});
