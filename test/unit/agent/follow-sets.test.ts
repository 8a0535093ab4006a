import pino from "pino";
import { afterEach, describe, expect, test } from "vitest";
import { FollowSets } from "../../../services/agent/follow-sets.ts";
import type { Flow, FlowState } from "../../../src/flow/flow.ts";
import type { WatchEvent } from "../../../src/rpc/tracker-client.ts";
import { BoundedQueue } from "../../../src/runtime/queue.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { follow, ip, plain } from "../dataplane/agent-states.ts";

function flow(peerPort: number, state: FlowState): Flow {
  const key = { address: ip("203.0.113.10"), protocol: "tcp", peer: ip("198.51.100.2"), peerPort, port: 80 } as const;
  return { key, owner: "vm-a", state, openedAtMs: 0, generation: 7n };
}

const address = { ...plain, private: ip("10.77.0.12"), follows: [follow] };
const signal = new AbortController().signal;
const soon = { signal, timeoutMs: 2_000 };

class Rig implements Disposable {
  readonly events = new BoundedQueue<WatchEvent>(16);
  readonly commands: string[] = [];
  readonly watched: { owner: string | undefined; aborted: () => boolean }[] = [];
  loaded = 0;
  readonly sets = new FollowSets({
    watch: (query, watchSignal) => {
      this.watched.push({ owner: query.owner, aborted: () => watchSignal.aborted });
      return this.events.items(watchSignal);
    },
    run: (commands) => this.commands.push(commands),
    onLoaded: () => this.loaded++,
    log: pino({ level: "silent" }),
  });

  [Symbol.dispose](): void {
    this.sets[Symbol.dispose]();
  }
}

describe("sets of followed flows", () => {
  let rig = new Rig();
  afterEach(() => {
    rig[Symbol.dispose]();
    rig = new Rig();
  });

  test("are filled from the snapshot, and reported as loaded only when it is complete", async () => {
    rig.sets.sync([address]);
    rig.events.push({ kind: "snapshot", flows: [flow(1, "open")], first: true, complete: false });
    await waitFor(() => rig.commands.length === 1, { ...soon, what: "the first page" });
    expect(rig.sets.loads()).toEqual([]);
    rig.events.push({ kind: "snapshot", flows: [flow(2, "closing")], first: false, complete: true });
    await waitFor(() => rig.loaded === 1, { ...soon, what: "the load's end" });
    expect(rig.sets.loads()).toEqual([{ id: "load", entries: 2 }]);
    expect(rig.commands.join("")).toContain("add element inet baton follow_5 { 198.51.100.2 . 1 . 80 }");
    expect(rig.commands.join("")).toContain("add element inet baton follow_5 { 198.51.100.2 . 2 . 80 }");
  });

  test("take a handshake for a handshake, and an end for an end (E5)", async () => {
    rig.sets.sync([address]);
    rig.events.push({ kind: "changes", flows: [flow(1, "half-open"), flow(2, "closed")] });
    const commands = await waitFor(() => rig.commands[0], { ...soon, what: "the changes" });
    expect(commands).toContain("add element inet baton half_5 { 198.51.100.2 . 1 . 80 timeout 64s }");
    expect(commands).toContain("delete element inet baton follow_5 { 198.51.100.2 . 2 . 80 }");
  });

  test("of many flows are written in steps", async () => {
    rig.sets.sync([address]);
    const flows = Array.from({ length: 4_500 }, (_, index) => flow(index + 1, "open"));
    rig.events.push({ kind: "snapshot", flows, first: true, complete: true });
    await waitFor(() => rig.loaded === 1, { ...soon, what: "the load's end" });
    expect(rig.commands).toHaveLength(3);
  });

  test("are watched once, however often the same state comes, and let go with their follow", () => {
    rig.sets.sync([address]);
    rig.sets.sync([address]);
    expect(rig.watched).toHaveLength(1);
    rig.sets.sync([{ ...address, follows: [] }]);
    expect(rig.watched[0]?.aborted()).toBe(true);
    expect(rig.sets.loads()).toEqual([]);
  });
});
