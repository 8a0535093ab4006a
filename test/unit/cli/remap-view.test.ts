import { describe, expect, it } from "vitest";
import { advanceView, type LiveView, liveFrame, phaseChangeLine } from "../../../services/cli/render/live.ts";
import { previewDetails, previewJson, remapDetails, remapTable } from "../../../services/cli/render/remap.ts";
import { type Line, renderLines } from "../../../services/cli/render/text.ts";
import { hasReached } from "../../../services/cli/watch.ts";
import { defaultPolicy, type Remap } from "../../../src/remap/remap.ts";
import type { RemapPreview } from "../../../src/rpc/remap-codec.ts";
import { abortedRemap, cutRemap, drainingRemap, freshRemap, ip, startMs } from "../rpc/remap-samples.ts";

const plainText = { colours: false, width: 0 };
const text = (lines: readonly Line[]) => `\n${renderLines(lines, plainText).join("\n")}\n`;
const frame = (remap: Remap, nowMs: number) => text(liveFrame(advanceView(undefined, remap, nowMs), nowMs));

describe("the live view", () => {
  it("shows a remap that has just begun", () => {
    const waiting: Remap = {
      ...freshRemap,
      waitingFor: [{ node: "gw1", sinceMs: startMs, what: "the proof of link 5" }],
    };
    expect(frame(waiting, startMs + 250)).toMatchInlineSnapshot(`
      "
      203.0.113.10  vm-a → vm-b  remap r1, generation 2
      ⠹ preparing 250 ms  · arming  · switching  · draining  · finalizing  · completed
      waiting for   gw1, 250 ms: the proof of link 5
      "
    `);
  });

  it("shows a drain: progress, figures, what is ahead", () => {
    expect(frame(drainingRemap, startMs + 12_843)).toMatchInlineSnapshot(`
      "
      203.0.113.10  vm-a → vm-b  remap r1, generation 2
      ✓ preparing 400 ms  ✓ arming 120 ms  ✓ switching 23 ms  ⠇ draining 12.3 s  · finalizing  · completed
      drained       █████████████████████░░░░░░░░░ 71%, 57 still open
      connections   200 at the switch, 57 still open, 141 closed by themselves, 2 superseded
      followed      1.20 GB in 34,123 packets
      new at vm-b   1,204 connections
      measured      switch 12 ms, longest silence 4 ms
      channel       direct, packets of 1500 bytes, proven with 1500
      deadline      in 29m48s, then wait
      "
    `);
  });

  it("shows a remap that was completed", () => {
    expect(frame(cutRemap, startMs + 70_000)).toMatchInlineSnapshot(`
      "
      203.0.113.10  vm-a → vm-b  remap r1, generation 2
      ✓ preparing 400 ms  ✓ arming 120 ms  ✓ switching 23 ms  ✓ draining 59.5 s  ✓ finalizing 100 ms  ✓ completed (cut)
      connections   200 at the switch, 141 closed by themselves, 2 superseded, 57 cut
      followed      1.20 GB in 34,123 packets
      new at vm-b   1,204 connections
      measured      switch 12 ms, longest silence 4 ms
      channel       direct, packets of 1500 bytes, proven with 1500
      waiting for   gw1, 1m10s: its acknowledgement
      because       NODE_TIMEOUT: gw1 is silent
      "
    `);
  });

  it("shows why a remap was aborted", () => {
    expect(frame(abortedRemap, startMs + 70_000)).toMatchInlineSnapshot(`
      "
      203.0.113.10  vm-a → vm-b  remap r1, generation 2
      ✓ preparing 1.0 s  ✓ aborting 500 ms  ✗ aborted
      because       CHANNEL_UNPROVEN: no proof came back: check the firewall between vm-a and vm-b
      "
    `);
  });

  it("counts the throughput of followed bytes over the last five seconds", () => {
    let view: LiveView | undefined;
    const bytesAt = (seconds: number) => BigInt(seconds <= 10 ? 0 : (seconds - 10) * 2_000_000);
    for (let seconds = 0; seconds <= 20; seconds++) {
      const followed = { packets: 1n, bytes: bytesAt(seconds) };
      view = advanceView(view, { ...drainingRemap, followed }, startMs + seconds * 1_000);
    }
    if (view === undefined) expect.fail();
    expect(text(liveFrame(view, startMs + 20_000))).toContain("followed      20.0 MB in 1 packet, 2.00 MB/s\n");
    expect(view.samples).toHaveLength(6);
  });

  it("says that a deadline has passed", () => {
    const kept: Remap = { ...drainingRemap, policy: { ...defaultPolicy, deadlineMs: 1_000, onDeadline: "keep" } };
    expect(frame(kept, startMs + 4_543)).toContain("deadline      passed 3.0 s ago (keep)\n");
  });

  it("stands at zero where the coordinator's clock is ahead", () => {
    expect(frame(freshRemap, startMs - 5_000)).toContain("preparing 0 ms");
  });

  it("names a few of the nodes that are waited for, and counts the rest", () => {
    const waitingFor = Array.from({ length: 40 }, (_, i) => ({ node: `vm-${i}`, sinceMs: startMs, what: "its ack" }));
    const lines = frame({ ...freshRemap, waitingFor }, startMs).split("\n");
    expect(lines.filter((line) => line.startsWith("waiting for"))).toHaveLength(5);
    expect(lines.at(-2)).toBe("              and 35 more");
  });

  it("is one line a phase where nothing can be drawn over", () => {
    const lines = [freshRemap, drainingRemap, cutRemap, abortedRemap].map(phaseChangeLine);
    expect(text(lines)).toMatchInlineSnapshot(`
      "
      203.0.113.10 vm-a → vm-b: preparing
      203.0.113.10 vm-a → vm-b: draining, 57 of 200 open
      203.0.113.10 vm-a → vm-b: completed (cut), 0 of 200 open: gw1 is silent
      203.0.113.10 vm-a → vm-b: aborted: no proof came back: check the firewall between vm-a and vm-b
      "
    `);
  });
});

describe("a watched remap", () => {
  it("has reached draining once it drains, or has gone past it", () => {
    const phases = [
      "preparing",
      "arming",
      "switching",
      "draining",
      "finalizing",
      "completed",
      "aborting",
      "aborted",
    ] as const;
    const reached = (goal: "draining" | "completed") =>
      phases.filter((phase) => hasReached({ ...freshRemap, phase }, goal));
    expect(reached("draining")).toEqual(["draining", "finalizing", "completed", "aborted"]);
    expect(reached("completed")).toEqual(["completed", "aborted"]);
  });
});

describe("remaps for people", () => {
  it("are a table with the newest first as given", () => {
    expect(text(remapTable([drainingRemap, cutRemap], startMs + 90_000))).toMatchInlineSnapshot(`
      "
      ID  ADDRESS       MOVE         PHASE              OPEN  STARTED
      r1  203.0.113.10  vm-a → vm-b  draining         57/200  1m30s ago
      r1  203.0.113.10  vm-a → vm-b  completed (cut)   0/200  1m30s ago
      "
    `);
    expect(text(remapTable([], startMs))).toContain("baton remap ADDRESS --to INSTANCE");
  });

  it("are shown with everything that is known of them", () => {
    expect(text(remapDetails(cutRemap, startMs + 70_000))).toMatchInlineSnapshot(`
      "
      203.0.113.10  vm-a → vm-b  remap r1, generation 2
      private       10.77.0.11 → 10.77.0.12
      phase         completed (cut)
      times         preparing 400 ms, arming 120 ms, switching 23 ms, draining 59.5 s, finalizing 100 ms
      asked by      root@here
      policy        deadline 30m, then wait, linger 10.0 s, unknown follow, return channel, channel auto
      connections   200 at the switch, 141 closed by themselves, 2 superseded, 57 cut
      followed      1.20 GB in 34,123 packets
      new at vm-b   1,204 connections
      measured      switch 12 ms, longest silence 4 ms
      channel       direct, packets of 1500 bytes, proven with 1500
      offline       vm-a: timed-out, not done within 60000 ms, ended by SIGTERM
      note          3 of the connections can't be reset
      waiting for   gw1, 1m10s: its acknowledgement
      because       NODE_TIMEOUT: gw1 is silent
      "
    `);
  });
});

describe("a preview", () => {
  const preview: RemapPreview = {
    address: ip("203.0.113.10"),
    source: "vm-a",
    target: "vm-b",
    targetPrivate: ip("10.77.0.12"),
    policy: { ...defaultPolicy, deadlineMs: 1_800_000, onDeadline: "cut", follow: false, offlineSource: true },
    channel: { kind: "vxlan", mtu: 1500, provenMtu: 0 },
    flows: 1_200,
    medianAgeMs: 3_000,
    oldestAgeMs: 7_200_000,
    refusals: [],
    mtu: { needed: 1500, carried: 1500, fits: true },
    remarks: ["vm-a holds 203.0.113.12 too"],
  };

  it("says what a remap would do", () => {
    expect(text(previewDetails(preview))).toMatchInlineSnapshot(`
      "
      203.0.113.10  vm-a → vm-b
      private       10.77.0.12
      connections   1,200 open now, half of them older than 3.0 s, the oldest 2h
      channel       vxlan, packets of 1500 bytes
      packet size   connections send up to 1500 bytes, the channel carries 1500: they fit
      policy        deadline 30m, then cut, linger 10.0 s, unknown follow, return channel, channel auto, no follow, source goes offline
      note          vm-a holds 203.0.113.12 too
      verdict       it would start
      "
    `);
  });

  it("says everything for which it would be refused", () => {
    const refused: RemapPreview = {
      address: preview.address,
      source: "vm-a",
      target: "vm-c",
      policy: defaultPolicy,
      flows: 0,
      refusals: [
        { code: "INSTANCE_DOWN", message: "the agent of vm-c is not connected: start it" },
        { code: "NO_FREE_PRIVATE", message: "vm-c has none left" },
      ],
    };
    expect(text(previewDetails(refused))).toMatchInlineSnapshot(`
      "
      203.0.113.10  vm-a → vm-c
      connections   0 open now
      policy        no deadline, linger 10.0 s, unknown follow, return channel, channel auto
      refused       INSTANCE_DOWN: the agent of vm-c is not connected: start it
      refused       NO_FREE_PRIVATE: vm-c has none left
      "
    `);
    expect(JSON.stringify(previewJson(refused))).toBe(
      '{"address":"203.0.113.10","source":"vm-a","target":"vm-c",' +
        '"policy":{"onDeadline":"wait","linger":10000,"unknown":"follow","return":"channel","channel":"auto",' +
        '"follow":true,"offlineSource":false},"flows":0,"refusals":[' +
        '{"code":"INSTANCE_DOWN","message":"the agent of vm-c is not connected: start it"},' +
        '{"code":"NO_FREE_PRIVATE","message":"vm-c has none left"}]}',
    );
  });
});
