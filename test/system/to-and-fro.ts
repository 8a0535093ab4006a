/** What must hold while an address goes to and fro under load, as often as a suite has time for. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import type { Client } from "../traffic/driver.ts";
import { Capture } from "./capture.ts";
import { LabFixture, publicAddress } from "./lab-fixture.ts";

const perRound = 10;
const perRemapMs = 20_000;
/** Connections of so many rounds are open at a time; the oldest then end. */
const rounds = 3;

export interface ToAndFro {
  readonly theme: string;
  readonly remaps: number;
}

export function describeToAndFro({ theme, remaps }: ToAndFro): void {
  describe(`${remaps} remaps to and fro`, () => {
    let fixture: LabFixture;
    let client: Client;
    let capture: Capture;

    beforeAll(async () => {
      fixture = await LabFixture.start(theme);
      client = fixture.client();
      await client.open({ group: "lasting", kind: "push", to: publicAddress, count: 20, intervalMs: 20 });
      await client.open({ group: "lasting", kind: "echo", to: publicAddress, count: 20 });
      await client.open({ group: "lasting", kind: "download", to: publicAddress, count: 2, bytesPerSecond: 5_000_000 });
      await client.open({ group: "lasting", kind: "upload", to: publicAddress, count: 2, bytesPerSecond: 5_000_000 });
      await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
      capture = await Capture.start(fixture, "client1", "eth0", "src net 10.77.0.0/24 or src net fd77::/64");
    });

    afterAll(async () => {
      await capture?.[Symbol.asyncDispose]();
      await fixture?.[Symbol.asyncDispose]();
    });

    it("keep every connection where it was opened, and lead new ones to where the address is", {
      timeout: remaps * perRemapMs,
    }, async () => {
      for (let round = 0; round < remaps; round++) {
        const target = round % 2 === 0 ? "vm-b" : "vm-a";
        await fixture.remap(target, "draining");
        const group = `round-${round}`;
        const [opened] = await client.open({ group, kind: "push", to: publicAddress, count: perRound, intervalMs: 20 });
        expect(opened, group).toMatchObject({ states: { open: perRound }, servers: { [target]: perRound } });
        if (round >= rounds) {
          const [ended] = await client.close(`round-${round - rounds}`);
          expect(ended, `${group} of old`).toMatchObject({ states: { closed: perRound }, failures: {} });
        }
        await client.ping("lasting");
        for (const kind of (await client.report()).kinds) {
          expect(kind, `${kind.kind} of ${kind.group} after remap ${round + 1}`).toMatchObject({ failures: {} });
          expect(Object.keys(kind.servers)).toHaveLength(1);
        }
      }
    });

    it("show the client no private source and no reset", async () => {
      expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
      expect(await capture.packets()).toEqual([]);
    });

    it("all complete in the end", async () => {
      for (const group of new Set((await client.report()).kinds.map((kind) => kind.group))) await client.close(group);
      await expect
        .poll(async () => (await listRemaps()).filter((remap) => remap.phase !== "completed"), {
          timeout: 30_000,
          interval: 250,
        })
        .toEqual([]);
      expect(await listRemaps()).toHaveLength(remaps);
    });

    async function listRemaps(): Promise<readonly { phase: string }[]> {
      const { json } = await fixture.baton("remaps", "list");
      return json.flat() as { phase: string }[];
    }
  });
}
