import pino from "pino";
import { afterEach, describe, expect, test } from "vitest";
import { FollowSets } from "../../../services/agent/follow-sets.ts";
import type { FlowAnswer } from "../../../src/flow/answer.ts";
import type { Flow, FlowKey, FlowState } from "../../../src/flow/flow.ts";
import type { WatchEvent } from "../../../src/rpc/tracker-queries.ts";
import { BoundedQueue } from "../../../src/runtime/queue.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { follow, ip, plain } from "../dataplane/agent-states.ts";

function flow(peerPort: number, state: FlowState): Flow {
  const key = { address: ip("203.0.113.10"), protocol: "tcp", peer: ip("198.51.100.2"), peerPort, port: 80 } as const;
  return { key, owner: "vm-a", state, openedAtMs: 0, generation: 7n };
}

const address = { ...plain, private: ip("10.77.0.12"), follows: [follow] };
const positions = [{ shard: 3, sequence: 9n }];
const signal = new AbortController().signal;
const soon = { signal, timeoutMs: 2_000 };

class Rig implements Disposable {
  readonly events = new BoundedQueue<WatchEvent>(16);
  readonly commands: string[] = [];
  readonly asked: number[] = [];
  answer: (key: FlowKey) => FlowAnswer = () => ({ kind: "unknown", reason: "nobody was asked" });
  readonly watched: { owner: string | undefined; aborted: () => boolean }[] = [];
  answered = (): Promise<void> => Promise.resolve();
  loaded = 0;
  /** What the kernel's set holds, by the peer's port. */
  readonly held = new Set<number>();
  inherited = false;
  visits = 0;
  readonly sets = new FollowSets({
    watch: (query, watchSignal) => {
      this.watched.push({ owner: query.owner, aborted: () => watchSignal.aborted });
      return this.events.items(watchSignal);
    },
    lookup: async (keys, atLeast) => {
      expect(atLeast).toEqual(positions);
      this.asked.push(...keys.map(({ peerPort }) => peerPort));
      await this.answered();
      return keys.map((key) => this.answer(key));
    },
    run: (commands) => {
      this.commands.push(commands);
      for (const change of followChanges(commands)) {
        if (change.startsWith("+")) this.held.add(Number(change.slice(1)));
        else this.held.delete(Number(change.slice(1)));
      }
    },
    hasInherited: () => this.inherited,
    visitEntries: async (_link, _address, visit) => {
      this.visits++;
      for (const port of this.held) visit(flow(port, "open").key);
    },
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
    rig.events.push({ kind: "snapshot", flows: [flow(1, "open")], first: true, complete: false, positions });
    await waitFor(() => rig.commands.length === 1, { ...soon, what: "the first page" });
    expect(rig.sets.loads()).toEqual([]);
    rig.events.push({ kind: "snapshot", flows: [flow(2, "closing")], first: false, complete: true, positions });
    await waitFor(() => rig.loaded === 1, { ...soon, what: "the load's end" });
    expect(rig.sets.loads()).toEqual([{ id: "load", entries: 2 }]);
    expect(rig.commands.join("")).toContain("add element inet baton follow_5 { 198.51.100.2 . 1 . 80 }");
    expect(rig.commands.join("")).toContain("add element inet baton follow_5 { 198.51.100.2 . 2 . 80 }");
  });

  test("are filled from the beginning when the kernel has lost them, and count as loaded only then (D15)", async () => {
    rig.sets.sync([address]);
    rig.events.push({ kind: "snapshot", flows: [flow(1, "open")], first: true, complete: true, positions });
    await waitFor(() => rig.loaded === 1, { ...soon, what: "the load's end" });
    rig.commands.length = 0;
    rig.sets.refill([address]);
    expect(rig.watched.map(({ aborted }) => aborted())).toEqual([true, false]);
    expect(rig.sets.loads()).toEqual([]);
    await waitFor(() => rig.watched.length === 2, { ...soon, what: "another watch" });
  });

  test("take a handshake for a handshake, and an end for an end (E5)", async () => {
    rig.sets.sync([address]);
    rig.events.push({ kind: "changes", flows: [flow(1, "half-open"), flow(2, "closed")], positions });
    const commands = await waitFor(() => rig.commands[0], { ...soon, what: "the changes" });
    expect(commands).toContain("add element inet baton half_5 { 198.51.100.2 . 1 . 80 timeout 64s }");
    expect(commands).toContain("delete element inet baton follow_5 { 198.51.100.2 . 2 . 80 }");
  });

  test("of many flows are written in steps", async () => {
    rig.sets.sync([address]);
    const flows = Array.from({ length: 4_500 }, (_, index) => flow(index + 1, "open"));
    rig.events.push({ kind: "snapshot", flows, first: true, complete: true, positions });
    await waitFor(() => rig.loaded === 1, { ...soon, what: "the load's end" });
    expect(rig.commands).toHaveLength(3);
  });

  test("keep nothing of a flow that opens and closes in one batch, and keep one that closes and opens again (E5)", async () => {
    rig.sets.sync([address]);
    const flows = [flow(1, "open"), flow(2, "closed"), flow(1, "closed"), flow(2, "open")];
    rig.events.push({ kind: "changes", flows, positions });
    await waitFor(() => rig.commands.length === 1, { ...soon, what: "the changes" });
    expect(rig.commands.map((text) => followChanges(text).sort())).toEqual([["+2", "-1"]]);
  });

  const resumed = async (...named: number[]): Promise<void> => {
    rig.sets.sync([address]);
    const flows = (ports: number[]) => ports.map((port) => flow(port, "open"));
    rig.events.push({ kind: "snapshot", flows: flows([1, 2, 3, 4]), first: true, complete: true, positions });
    await waitFor(() => rig.loaded === 1, { ...soon, what: "the load's end" });
    rig.commands.length = 0;
    rig.events.push({ kind: "snapshot", flows: flows(named), first: true, complete: true, positions });
    rig.events.push({ kind: "changes", flows: [flow(99, "open")], positions });
    await waitFor(() => rig.commands.join("").includes(". 99 ."), { ...soon, what: "what came after the snapshot" });
  };
  const removed = () => rig.commands.flatMap((text) => followChanges(text)).filter((change) => change.startsWith("-"));

  test("lose what a later snapshot leaves out only when its owner has ended it (E5)", async () => {
    const answers: Record<number, FlowAnswer> = {
      2: { kind: "closed", owner: "vm-a", appliedSequence: 9n },
      3: { kind: "absent", appliedSequence: 9n },
      4: { kind: "unknown", reason: "shard 3 is incomplete until snapshots arrive" },
    };
    rig.answer = (key) => answers[key.peerPort] ?? { kind: "absent", appliedSequence: 9n };
    await resumed(1);
    await waitFor(() => removed().length > 0, { ...soon, what: "what has ended" });
    expect(rig.asked).toEqual([2, 3, 4]);
    expect(removed()).toEqual(["-2"]);
  });

  test("keep what another instance has ended, or has now (E5)", async () => {
    rig.answer = (key) =>
      key.peerPort === 2
        ? { kind: "closed", owner: "vm-b", appliedSequence: 9n }
        : { kind: "owned", flow: { ...flow(key.peerPort, "open"), owner: "vm-b" } };
    await resumed(1);
    await waitFor(() => rig.asked.length === 3, { ...soon, what: "the question" });
    expect(removed()).toEqual([]);
  });

  test("ask about nothing when a later snapshot names all", async () => {
    await resumed(1, 2, 3, 4, 5);
    expect([rig.asked, removed()]).toEqual([[], []]);
  });

  test("that an earlier run of the agent has filled lose what has ended meanwhile, and nothing else (E5)", async () => {
    rig.inherited = true;
    for (const port of [1, 2, 3]) rig.held.add(port);
    rig.answer = (key) =>
      key.peerPort === 2
        ? { kind: "closed", owner: "vm-a", appliedSequence: 9n }
        : { kind: "absent", appliedSequence: 9n };
    rig.sets.sync([address]);
    rig.events.push({ kind: "snapshot", flows: [flow(1, "open")], first: true, complete: true, positions });
    await waitFor(() => removed().length > 0, { ...soon, what: "what has ended" });
    expect([rig.asked, [...rig.held]]).toEqual([
      [2, 3],
      [1, 3],
    ]);
  });

  test("keep what the watch has told of while the tracker was asked", async () => {
    const answered = Promise.withResolvers<void>();
    rig.answered = () => answered.promise;
    rig.answer = () => ({ kind: "closed", owner: "vm-a", appliedSequence: 9n });
    await resumed(1, 4);
    rig.events.push({ kind: "changes", flows: [flow(2, "open")], positions });
    rig.events.push({ kind: "changes", flows: [flow(98, "open")], positions });
    await waitFor(() => rig.held.has(98), { ...soon, what: "the changes" });
    answered.resolve();
    await waitFor(() => removed().length > 0, { ...soon, what: "what has ended" });
    expect([rig.asked, removed()]).toEqual([[2, 3], ["-3"]]);
  });

  test("are not read back where this run has filled them by its first snapshot", async () => {
    rig.sets.sync([address]);
    rig.events.push({ kind: "snapshot", flows: [flow(1, "open")], first: true, complete: true, positions });
    rig.events.push({ kind: "changes", flows: [flow(99, "open")], positions });
    await waitFor(() => rig.held.has(99), { ...soon, what: "what came after the snapshot" });
    expect(rig.visits).toBe(0);
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

/** What a transaction does to the set of followed flows: "+1" for the flow of that peer's port, "-1" when it ends without. */
function followChanges(commands: string): string[] {
  const last = new Map<string, string>();
  for (const command of commands.split("\n")) {
    const [verb, , , , set] = command.split(" ");
    if (set !== "follow_5") continue;
    for (const [, port] of command.matchAll(/198\.51\.100\.2 \. (\d+) \. 80/g))
      last.set(String(port), verb === "add" ? "+" : "-");
  }
  return [...last].map(([port, sign]) => sign + port);
}
