/** What a remap's policy makes of connections that don't end by themselves (SPEC R3, R4, R11; design page 3). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Client } from "../traffic/driver.ts";
import type { KindSummary } from "../traffic/protocol.ts";
import { kernelState } from "./kernel-state.ts";
import { clientAddress, LabFixture, publicAddress, until } from "./lab-fixture.ts";

const count = 6;
const exitRefused = 3;
const resetMs = 5_000;

describe("the policy of a remap", () => {
  let fixture: LabFixture;
  let client: Client;
  let holder: "vm-a" | "vm-b" = "vm-a";

  beforeAll(async () => {
    fixture = await LabFixture.start("policies");
    client = fixture.client();
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("cut resets what is left at the deadline, silent connections too, while the channel is up", async () => {
    await open("cut");
    const remap = await move("draining", "--deadline", "2s", "--on-deadline", "cut");
    await expectAll("cut", "open");
    const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(done).toMatchObject({
      outcome: "cut",
      flows: { atSwitch: 2 * count, cut: 2 * count, remaining: 0, closed: 0 },
    });
    await expectReset("cut");
    const drained = Date.parse(done.phaseAt["finalizing"] ?? "") - Date.parse(done.phaseAt["draining"] ?? "");
    expect(drained).toBeGreaterThanOrEqual(2_000);
  });

  it("wait goes on past the deadline, and says so", async () => {
    await open("wait");
    const remap = await move("draining", "--deadline", "500ms", "--on-deadline", "wait");
    const late = await fixture.follow(remap.id, (now) =>
      now.waitingFor.some(({ what }) => what.includes("past the deadline")),
    );
    expect(late.phase).toBe("draining");
    await expectAll("wait", "open");
    await client.close("wait");
    expect(await fixture.follow(remap.id, (now) => now.phase === "completed")).toMatchObject({
      outcome: "completed",
      flows: { closed: 2 * count, cut: 0, lost: 0 },
    });
  });

  it("keep keeps the channel past the deadline until it is released; then the target resets what still speaks", async () => {
    await client.open({ group: "keep", kind: "echo", to: publicAddress, count });
    const remap = await move("draining", "--deadline", "2s", "--on-deadline", "keep");
    const early = await fixture.baton("remaps", "release", remap.id);
    expect(early).toMatchObject({ code: exitRefused, stderr: expect.stringContaining("WRONG_PHASE") });
    await fixture.follow(remap.id, (now) => now.waitingFor.some(({ what }) => what.includes("release or cut")));
    await expectAll("keep", "open");
    expect((await fixture.baton("remaps", "release", remap.id)).code).toBe(0);
    expect(await fixture.follow(remap.id, (now) => now.phase === "completed")).toMatchObject({
      outcome: "completed",
      flows: { lost: count, remaining: 0, cut: 0 },
    });
    // The source holds nothing of them that a later remap would have to wait for, and has told their clients nothing.
    await until("the source has let go of them", resetMs, async () => (await externalSockets(remap.source)) === 0);
    expect((await kindsOf("keep"))[0]?.states).toEqual({ open: count });
    await client.ping("keep");
    await expectReset("keep");
  });

  it("a deadline can be moved while it drains, and taken away", async () => {
    await open("moved");
    const remap = await move("draining", "--deadline", "2s", "--on-deadline", "cut");
    const none = await fixture.baton("remaps", "deadline", remap.id, "none");
    expect(none).toMatchObject({ code: 0, json: [{ policy: { onDeadline: "cut" } }] });
    expect(none.json[0]).not.toHaveProperty("policy.deadline");
    const pastMs = Date.parse((await fixture.show(remap.id)).phaseAt["draining"] ?? "") + 3_000;
    await until("the first deadline is past", 5_000, () => Date.now() > pastMs);
    await expectAll("moved", "open");
    expect((await fixture.baton("remaps", "deadline", remap.id, "400d")).code).not.toBe(0);
    expect((await fixture.baton("remaps", "deadline", remap.id, "200ms")).code).toBe(0);
    await fixture.follow(remap.id, (now) => now.phase === "completed");
    await expectReset("moved");
  });

  it("a cut by hand ends a drain without a deadline", async () => {
    await open("by-hand");
    const remap = await move("draining");
    expect((await fixture.baton("remaps", "cut", remap.id, "--yes")).code).toBe(0);
    expect(await fixture.follow(remap.id, (now) => now.phase === "completed")).toMatchObject({
      outcome: "cut",
      flows: { cut: 2 * count, closed: 0, lost: 0 },
    });
    await expectReset("by-hand");
  });

  it("no-follow breaks what is open at once, and keeps no channel", async () => {
    await open("broken");
    const done = await move("completed", "--no-follow");
    expect(done).toMatchObject({ phase: "completed", flows: { cut: 2 * count }, followed: { packets: 0 } });
    expect(done.channel).toBeUndefined();
    expect(done.phaseAt["draining"]).toBeUndefined();
    await expectReset("broken");
    const [fresh] = await client.open({ group: "fresh", kind: "echo", to: publicAddress, count });
    expect(fresh).toMatchObject({ states: { open: count }, servers: { [holder]: count } });
    await client.close("fresh");
  });

  it("linger is how long nothing may have moved before the remap believes it", async () => {
    await open("lingering");
    const remap = await move("draining", "--linger", "3s");
    const closedMs = Date.now();
    await client.close("lingering");
    const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(Date.parse(done.phaseAt["finalizing"] ?? "") - closedMs).toBeGreaterThanOrEqual(3_000);
  });

  it("leaves nothing in the kernels, whichever it was", async () => {
    for (const host of ["vm-a", "vm-b"]) {
      const { nftables, rules } = await kernelState(fixture, host);
      expect(`${nftables}${rules}`).not.toMatch(/_link_\d|fwmark/);
    }
  });

  /** Silent connections, and such that are sent something all the time. */
  async function open(group: string): Promise<void> {
    await client.open({ group, kind: "echo", to: publicAddress, count });
    await client.open({ group, kind: "push", to: publicAddress, count, intervalMs: 50 });
    await expectAll(group, "open");
  }

  async function move(wait: "draining" | "completed", ...policy: readonly string[]) {
    holder = holder === "vm-a" ? "vm-b" : "vm-a";
    return await fixture.remap(holder, wait, ...policy);
  }

  async function expectAll(group: string, state: "open" | "failed"): Promise<void> {
    const kinds = (await client.ping(group)).filter((kind) => kind.group === group);
    for (const kind of kinds) expect(kind, kind.kind).toMatchObject({ states: { [state]: count }, failures: {} });
  }

  async function expectReset(group: string): Promise<void> {
    await until("all are reset", resetMs, async () =>
      (await kindsOf(group)).every((kind) => (kind.states.failed ?? 0) === count),
    );
    for (const kind of await kindsOf(group)) expect(kind.failures, kind.kind).toEqual({ reset: count });
  }

  async function kindsOf(group: string): Promise<readonly KindSummary[]> {
    return (await client.report({ group })).kinds;
  }

  async function externalSockets(host: string): Promise<number> {
    const listed = await fixture.exec(host, "ss", "-Htn", "state", "established", "dst", clientAddress);
    return listed.split("\n").filter(Boolean).length;
  }
});
