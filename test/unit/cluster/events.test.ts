import { describe, expect, it } from "vitest";
import { MemoryBus } from "../../../src/bus/memory.ts";
import { ClusterEvents, clusterStream } from "../../../src/cluster/events.ts";
import type { Membership, MembershipChange } from "../../../src/cluster/membership.ts";
import { createLog } from "../../../src/runtime/log.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { Believed, member } from "../../support/membership.ts";

const log = createLog({ service: "test", name: "test", level: "error" });
const encodedTextOf = (data: Uint8Array): { readonly [key: string]: unknown } =>
  JSON.parse(new TextDecoder().decode(data));

class Scene implements AsyncDisposable {
  readonly bus = new MemoryBus();
  readonly published: { readonly subject: string; readonly body: { readonly [key: string]: unknown } }[] = [];
  readonly #end = new AbortController();
  readonly #running: Promise<unknown>[] = [];
  nowMs = 1_000_000;
  isAway = false;
  /** Messages that found NATS away. */
  refused = 0;

  static async open(): Promise<Scene> {
    const scene = new Scene();
    await scene.bus.ensureStream({ ...clusterStream, replicas: 1 }, scene.#end.signal);
    return scene;
  }

  coordinator(membership: Membership, term: () => bigint | undefined): void {
    const publish = async (...[subject, data, options]: Parameters<MemoryBus["publish"]>): Promise<bigint> => {
      if (this.isAway) {
        this.refused++;
        throw new Error("away");
      }
      const { last } = await this.bus.streamRange(clusterStream.name, options.signal);
      const sequence = await this.bus.publish(subject, data, options);
      if (sequence > last) this.published.push({ subject, body: encodedTextOf(data) });
      return sequence;
    };
    const clock = { nowMs: () => this.nowMs, monotonicMs: () => this.nowMs };
    this.#running.push(new ClusterEvents({ membership, term, bus: { publish }, clock, log }).run(this.#end.signal));
  }

  get subjects(): readonly string[] {
    return this.published.map(({ subject }) => subject.replace("baton.cluster.", ""));
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    await waitFor(condition, { signal: this.#end.signal, timeoutMs: 10_000, what });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#running);
  }
}

const dead: MembershipChange = { kind: "dead", member: member("t1", "dead", 4) };

describe("the cluster's events", () => {
  it("are published by the leader alone: first all members, then each change, but no loads", async () => {
    await using scene = await Scene.open();
    const [leader, follower] = [new Believed("c1", [member("t1")]), new Believed("c2", [member("t1")])];
    scene.coordinator(leader, () => 3n);
    scene.coordinator(follower, () => undefined);
    await scene.until("the list", () => scene.subjects.length === 1);
    for (const believed of [leader, follower])
      believed.happens(
        { kind: "suspect", member: member("t1", "suspect", 4) },
        { kind: "load", member: member("t1") },
        dead,
      );
    await scene.until("the death", () => scene.subjects.includes("member-dead"));
    expect(scene.subjects).toEqual(["members", "member-suspect", "member-dead"]);
    expect(scene.published[0]?.body).toMatchObject({ event: "members", term: 3, by: "c1", members: [{ name: "t1" }] });
    expect(scene.published[2]?.body).toEqual({
      event: "member-dead",
      at: new Date(scene.nowMs).toISOString(),
      term: 3,
      by: "c1",
      member: {
        name: "t1",
        roles: ["tracker"],
        address: "t1:1",
        state: "dead",
        load: 0,
        services: { grpc: "t1:1" },
        labels: { zone: "a" },
        hosting: "ready",
        cpus: 2,
        memoryMiB: 4_096,
        gossip: "t1:2",
        incarnation: 4,
      },
    });
  });

  it("of a time when nobody led are published by the next leader, each once, and then a list (M11)", async () => {
    await using scene = await Scene.open();
    let terms: readonly (bigint | undefined)[] = [3n, undefined];
    const both = [new Believed("c1", []), new Believed("c2", [])];
    for (const [index, believed] of both.entries()) scene.coordinator(believed, () => terms[index]);
    await scene.until("the first list", () => scene.subjects.length === 1);
    for (const believed of both) believed.happens({ kind: "suspect", member: member("t1", "suspect", 4) });
    await scene.until("the suspicion", () => scene.subjects.includes("member-suspect"));
    terms = [undefined, undefined];
    for (const believed of both) believed.happens(dead);
    terms = [undefined, 4n];
    await scene.until("the second list", () => scene.subjects.length >= 4);
    expect(scene.subjects).toEqual(["members", "member-suspect", "member-dead", "members"]);
    expect(scene.published.map(({ body }) => body["by"])).toEqual(["c1", "c1", "c2", "c2"]);
  });

  it("older than a minute are left to the list", async () => {
    await using scene = await Scene.open();
    let [asked, term]: [number, bigint | undefined] = [0, undefined];
    const believed = new Believed("c1", [member("t1", "dead", 4)]);
    believed.happens(dead);
    scene.coordinator(believed, () => {
      asked++;
      return term;
    });
    await scene.until("the change to be heard", () => asked >= 1);
    scene.nowMs += 61_000;
    const before = asked;
    await scene.until("it to be let go", () => asked >= before + 2);
    term = 5n;
    await scene.until("the list", () => scene.subjects.length > 0);
    expect(scene.subjects).toEqual(["members"]);
  });

  it("wait while NATS is away, and come in their order when it is back", async () => {
    await using scene = await Scene.open();
    const believed = new Believed("c1", []);
    scene.coordinator(believed, () => 3n);
    await scene.until("the list", () => scene.subjects.length === 1);
    scene.isAway = true;
    believed.happens({ kind: "suspect", member: member("t1", "suspect", 4) }, dead);
    await scene.until("two tries in vain", () => scene.refused >= 2);
    scene.isAway = false;
    await scene.until("the death", () => scene.subjects.includes("member-dead"));
    expect(scene.subjects).toEqual(["members", "member-suspect", "member-dead"]);
  });
});
