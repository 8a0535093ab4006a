/** Coordinators as processes on a real NATS server, with a real tracker, and nodes that have no kernel. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { connectBus } from "../../src/bus/nats.ts";
import type { Remap, RemapPhase } from "../../src/remap/remap.ts";
import { Coordinators } from "../../src/rpc/coordinators.ts";
import { CallFailed } from "../../src/rpc/failover.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import { ip, publicA } from "../support/fake-cluster.ts";
import { FakeNode } from "../support/fake-node.ts";
import { GrpcNode } from "../support/grpc-node.ts";
import { freePort, startNatsServer, type TestNatsServer } from "../support/nats-server.ts";
import { brokenInvariants } from "../support/packet-invariants.ts";
import { ServiceProcess } from "../support/service-process.ts";

const timeoutMs = 30_000;
const signal = new AbortController().signal;
const leaseMs = 1_000;
/** Nothing listens there. */
const nobody = "127.0.0.1:1";

class Bench implements AsyncDisposable {
  readonly nats: TestNatsServer;
  readonly coordinators: readonly ServiceProcess[];
  readonly agents = [new FakeNode("vm-a", "agent", 11), new FakeNode("vm-b", "agent", 12)];
  readonly gateways = [new FakeNode("gw1", "gateway", 1), new FakeNode("gw2", "gateway", 2)];
  readonly nodes: readonly GrpcNode[];
  readonly endpoints: readonly string[];
  readonly adminPorts: readonly number[];
  readonly calls: Coordinators;
  readonly broken: string[] = [];
  readonly #cleanup: AsyncDisposableStack;
  readonly #prover: NodeJS.Timeout;

  private constructor(
    nats: TestNatsServer,
    coordinators: ServiceProcess[],
    endpoints: string[],
    adminPorts: number[],
    cleanup: AsyncDisposableStack,
  ) {
    this.nats = nats;
    this.coordinators = coordinators;
    this.endpoints = endpoints;
    this.adminPorts = adminPorts;
    this.#cleanup = cleanup;
    this.nodes = [...this.agents, ...this.gateways].map((node) => {
      node.positions = [];
      node.onApply = () => this.broken.push(...brokenInvariants(this.agents, this.gateways));
      return cleanup.use(new GrpcNode(node, endpoints));
    });
    this.calls = cleanup.use(new Coordinators(endpoints, "test", signal));
    this.#prover = setInterval(() => this.prove(), 5);
  }

  /** `isAlone`: nobody is at the seeds of anybody. */
  static async open(count: number, isAlone = false): Promise<Bench> {
    const cleanup = new AsyncDisposableStack();
    const nats = cleanup.use(await startNatsServer());
    const trackerEndpoint = `127.0.0.1:${await freePort()}`;
    const seed = `127.0.0.1:${await freePort()}`;
    const directory = await mkdtemp(join(tmpdir(), "baton-tracker-data-"));
    cleanup.defer(() => rm(directory, { recursive: true, force: true }));
    const tracker = cleanup.use(
      await ServiceProcess.create("tracker", {
        name: "tracker1",
        listen: [trackerEndpoint],
        trackers: [{ name: "tracker1", endpoint: trackerEndpoint }],
        nats: { servers: nats.servers },
        dataDirectory: directory,
        rebuild: { settleMs: 100 },
        gossip: { listen: seed },
      }),
    );
    tracker.start();
    const endpoints: string[] = [];
    for (let i = 0; i < count; i++) endpoints.push(`127.0.0.1:${await freePort()}`);
    const coordinators: ServiceProcess[] = [];
    const adminPorts: number[] = [];
    for (const [index, endpoint] of endpoints.entries()) {
      const adminPort = await freePort();
      adminPorts.push(adminPort);
      const config = {
        name: `coordinator${index + 1}`,
        listen: [endpoint],
        trackers: [trackerEndpoint],
        nats: { servers: nats.servers },
        fabric: ["10.77.0.0/24"],
        publicPrefixes: ["203.0.113.0/24"],
        addresses: [{ address: publicA, instance: "vm-a" }],
        leaseMs,
        gossip: { seeds: [isAlone ? nobody : seed] },
        admin: { listen: `127.0.0.1:${adminPort}` },
      };
      const coordinator = cleanup.use(await ServiceProcess.create("coordinator", config));
      coordinator.start();
      coordinators.push(coordinator);
    }
    return new Bench(nats, coordinators, endpoints, adminPorts, cleanup);
  }

  prove(): void {
    for (const gateway of this.gateways)
      for (const proof of gateway.gatewayState?.proofs ?? []) {
        const ends = this.agents.filter((agent) => agent.agentState?.links.some(({ id }) => id === proof.link));
        if (
          ends.length < 2 ||
          this.gateways[0]?.status().proofs.some((p) => p.id === proof.id && p.sender === gateway.name)
        )
          continue;
        this.gateways[0]?.noteProof(proof.id, gateway.name, proof.mtu);
        this.nodes.find(({ node }) => node === this.gateways[0])?.report();
      }
  }

  nodeNamed(name: string): GrpcNode {
    const found = this.nodes.find(({ node }) => node.name === name);
    if (found === undefined) throw new Error(name);
    return found;
  }

  /** The coordinator that all nodes obey now. */
  leader(): ServiceProcess {
    const index = this.endpoints.indexOf(this.nodes[0]?.endpoints.at(-1) ?? "");
    const found = this.coordinators[index];
    if (found === undefined) throw new Error("no node is connected");
    return found;
  }

  async ready(): Promise<void> {
    await this.wait("all nodes to have a state, and the first address to be mapped", async () => {
      const mapped = this.gateways.every(({ gatewayState }) => gatewayState?.mappings.length === 1);
      return mapped && this.agents.every(({ agentState }) => agentState !== undefined);
    });
  }

  async create(lingerMs = 200): Promise<Remap> {
    return await this.calls.createRemap(
      { address: publicA, target: "vm-b", policy: { lingerMs } },
      `key-${Math.random()}`,
    );
  }

  async phase(id: string, ...phases: RemapPhase[]): Promise<Remap> {
    return await this.wait(`remap ${id} to be ${phases}`, async () => {
      const remap = await this.calls.getRemap(id).catch(unlessRefused);
      if (remap === undefined) return undefined;
      if (remap.phase === "aborted") throw new Error(`it was aborted: ${remap.error?.message}`);
      return phases.includes(remap.phase) ? remap : undefined;
    });
  }

  async wait<T>(what: string, condition: () => T | Promise<T>) {
    try {
      return await waitFor(condition, { signal, timeoutMs, what });
    } catch (error) {
      const output = this.coordinators.flatMap((each) => each.output.slice(-40)).join("\n");
      throw new Error(`${String(error)}\n${output}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#prover);
    await this.#cleanup.disposeAsync();
  }
}

/** While no coordinator leads, the question is simply asked again. */
function unlessRefused(error: unknown): undefined {
  if (error instanceof CallFailed && error.unreachable) return undefined;
  throw error;
}

describe("coordinators on NATS", () => {
  let bench: Bench;

  const open = async (count: number, isAlone = false): Promise<void> => {
    bench = await Bench.open(count, isAlone);
    await bench.ready();
    const source = bench.nodeNamed("vm-a");
    source.node.open(publicA, 7);
    source.report();
  };

  afterEach(async () => {
    await bench[Symbol.asyncDispose]();
  });

  it("take a remap through all phases, and publish each", async () => {
    await open(1);
    const { id } = await bench.create();
    expect((await bench.phase(id, "draining")).switchMs).toBeGreaterThan(0);
    await bench.wait(
      "the source to report its connections",
      async () => (await bench.calls.getRemap(id)).flows.remaining === 7,
    );
    bench.nodeNamed("vm-a").node.close(publicA);
    bench.nodeNamed("vm-a").report();
    expect(await bench.phase(id, "completed")).toMatchObject({
      outcome: "completed",
      flows: { atSwitch: 7, closed: 7, remaining: 0 },
    });
    expect(bench.broken).toEqual([]);
    expect(bench.agents[0]?.agentState).toMatchObject({ addresses: [], links: [] });
    await using bus = connectBus({ servers: bench.nats.servers, name: "test" });
    const seen: string[] = [];
    const consumed = bus.consume({
      stream: "BATON_REMAPS",
      subject: `baton.remaps.${id}`,
      from: 1n,
      signal: AbortSignal.timeout(timeoutMs),
      batchMax: 100,
    });
    for await (const batch of consumed) {
      for (const { data } of batch) seen.push((JSON.parse(Buffer.from(data).toString()) as { phase: string }).phase);
      if (seen.at(-1) === "completed") break;
    }
    expect([...new Set(seen)]).toEqual(["preparing", "arming", "switching", "draining", "finalizing", "completed"]);
  });

  it("answer what an operator asks, whichever of them is asked", async () => {
    await open(2);
    const wish = { address: publicA, target: "vm-b", policy: { lingerMs: 200 } };
    const preview = await bench.wait("the trackers to answer", () =>
      bench.calls.previewRemap(wish).catch(() => undefined),
    );
    expect(preview).toMatchObject({
      source: "vm-a",
      targetPrivate: "10.77.0.12",
      channel: { kind: "direct", mtu: 1500 },
      refusals: [],
    });
    const refused = await bench.calls.previewRemap({ ...wish, target: "vm-a", policy: { lingerMs: 3_600_001 } });
    expect(refused.refusals.map(({ code }) => code)).toEqual(["INVALID_ARGUMENT", "SOURCE_IS_TARGET"]);
    const { id } = await bench.create();
    const seen: RemapPhase[] = [];
    for await (const remap of bench.calls.watchRemap(id)) {
      seen.push(remap.phase);
      if (remap.phase !== "draining" || remap.flows.remaining === 0) continue;
      bench.nodeNamed("vm-a").node.close(publicA);
      bench.nodeNamed("vm-a").report();
    }
    expect(seen.at(-1)).toBe("completed");
    expect(await bench.calls.listRemaps({ openOnly: false })).toMatchObject([{ id }]);
    expect(await bench.calls.listRemaps({ openOnly: true })).toEqual([]);
    const members = await bench.calls.listMembers();
    for (const name of ["tracker1", "vm-a", "vm-b", "gw1", "gw2"])
      expect(members).toContainEqual(expect.objectContaining({ name, state: "alive" }));
    const shards = await bench.calls.listShards();
    expect(shards).toHaveLength(32);
    expect(new Set(shards.map(({ primary }) => primary))).toEqual(new Set(["tracker1"]));
    await expect(bench.calls.moveShard(3, "tracker1")).rejects.toMatchObject({ received: { code: "NOTHING_TO_MOVE" } });
    await expect(bench.calls.moveShard(3, "tracker9")).rejects.toMatchObject({ received: { code: "UNKNOWN_MEMBER" } });
    await expect(bench.calls.unpinShard(3)).rejects.toMatchObject({ received: { code: "NOTHING_TO_MOVE" } });
    for await (const flows of bench.calls.listFlows({ address: publicA, limit: 10 })) expect(flows).toEqual([]);
  });

  it.each(["preparing", "arming", "switching"] as const)(
    "go on after the leader was killed while a remap was %s",
    async (phase) => {
      await open(2);
      const hold = Promise.withResolvers<void>();
      const holder = phase === "switching" ? "vm-a" : phase === "arming" ? "vm-b" : "vm-a";
      bench.nodeNamed(holder).gate = async (desired) => {
        if (desired.kind !== "agent") return;
        const [entry] = desired.state.addresses;
        const reached =
          phase === "preparing"
            ? desired.state.links.length > 0
            : phase === "arming"
              ? entry?.holdOpens === true
              : entry?.egress.kind === "channel";
        if (reached) await hold.promise;
      };
      const { id } = await bench.create();
      await bench.phase(id, phase);
      const leader = bench.leader();
      await leader.end("SIGKILL");
      hold.resolve();
      const survivor = bench.coordinators.find((each) => each !== leader);
      expect(survivor?.running).toBe(true);
      await bench.phase(id, "draining");
      bench.nodeNamed("vm-a").node.close(publicA);
      bench.nodeNamed("vm-a").report();
      expect(await bench.phase(id, "completed")).toMatchObject({ outcome: "completed" });
      expect(bench.broken).toEqual([]);
      for (const { node } of bench.nodes) expect(node.held?.term).toBeGreaterThan(1n);
    },
  );

  it("obey only the newer leader when the older one was merely asleep", async () => {
    await open(2);
    const older = bench.leader();
    older.pause();
    await bench.wait("the other to lead all nodes", () =>
      bench.nodes.every(({ node }) => (node.held?.term ?? 0n) >= 2n),
    );
    older.resume();
    const { id } = await bench.create();
    await bench.phase(id, "draining");
    expect(bench.nodes.flatMap(({ node }) => node.refused)).toEqual([]);
    await bench.wait("the older to notice", () => older.output.some((line) => line.includes("no longer leading")));
  });

  it("order nothing from a store that was emptied, until an operator begins anew (F7, F8)", async () => {
    await open(2);
    const { id } = await bench.create();
    await bench.phase(id, "draining");
    const states = () => bench.nodes.map(({ node }) => node.agentState ?? node.gatewayState);
    const before = states();
    const terms = bench.nodes.map(({ node }) => node.held?.term ?? 0n);
    await bench.nats.wipe();
    await bench.nats.start();
    const gateways = await bench.wait("both gateways to be held back", async () => {
      const views = await bench.calls.listGateways().catch(unlessRefused);
      return views?.length === 2 && views.every(({ heldBack }) => heldBack !== undefined) ? views : undefined;
    });
    expect(gateways[0]?.heldBack).toContain("baton cluster begin-anew");
    await bench.wait("both instances to be held back", async () => {
      const views = await bench.calls.listInstances();
      return views.length === 2 && views.every(({ heldBack }) => heldBack !== undefined);
    });
    const leading = bench.adminPorts[bench.coordinators.indexOf(bench.leader())];
    const ready = await fetch(`http://127.0.0.1:${leading}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining("gw1 is held back")]);
    await expect(bench.create()).rejects.toMatchObject({ received: { code: "NODE_HELD_BACK" } });
    // The configuration's first address is mapped as it was at first; the operator knows better.
    await bench.wait("the first address to be mapped", async () => (await bench.calls.listAddresses()).length === 1);
    await bench.calls.removeAddress(publicA);
    await bench.calls.addAddress(publicA, "vm-b", ip("10.77.0.12"));
    expect(states()).toEqual(before);
    expect([...(await bench.calls.beginAnew())].sort()).toEqual(["gw1", "gw2", "vm-a", "vm-b"]);
    await bench.wait("all nodes to have orders of the new store", () =>
      bench.nodes.every(({ node }, index) => (node.held?.term ?? 0n) > (terms[index] ?? 0n)),
    );
    for (const gateway of bench.gateways)
      expect(gateway.gatewayState?.mappings).toMatchObject([{ address: publicA, private: "10.77.0.12" }]);
    expect(bench.nodes.flatMap(({ node }) => node.refused)).toEqual([]);
  });

  it("keep what was decided when the only one is restarted, and when NATS is", async () => {
    await open(1);
    const { id } = await bench.create();
    await bench.phase(id, "draining");
    const [only] = bench.coordinators;
    expect(await only?.end("SIGTERM")).toBe(0);
    only?.start();
    expect(await bench.phase(id, "draining")).toMatchObject({ target: "vm-b", flows: { atSwitch: 7 } });
    await bench.nats.kill();
    await bench.nats.start();
    bench.nodeNamed("vm-a").node.close(publicA);
    bench.nodeNamed("vm-a").report();
    expect(await bench.phase(id, "completed")).toMatchObject({ outcome: "completed" });
    expect(await bench.calls.listAddresses()).toMatchObject([{ address: publicA, instance: "vm-b", generation: 2n }]);
    expect(bench.gateways[0]?.gatewayState?.mappings).toMatchObject([{ private: ip("10.77.0.12") }]);
  });

  it("are ready, and move an address, though nobody of their gossip answers (M12)", async () => {
    await open(1, true);
    const ask = async (path: string) => await fetch(`http://127.0.0.1:${bench.adminPorts[0]}${path}`);
    await bench.wait("the coordinator to be ready", async () => (await ask("/readyz")).status === 200);
    await bench.phase((await bench.create()).id, "draining");
    expect((await ask("/readyz")).status).toBe(200);
    const metrics = await (await ask("/metrics")).text();
    expect(metrics).toMatch(/^baton_gossip_members\{state="alive"\} 1$/m);
    expect(metrics).toMatch(/^baton_gossip_members\{state="dead"\} 0$/m);
  });

  it("publish what an earlier leader has stored and not published (E17)", async () => {
    await open(1);
    const { id } = await bench.create();
    await bench.phase(id, "draining");
    bench.nodeNamed("vm-a").node.close(publicA);
    bench.nodeNamed("vm-a").report();
    await bench.phase(id, "completed");
    await using bus = connectBus({ servers: bench.nats.servers, name: "test" });
    const manager = await (await bus.connection(signal)).jetstreamManager();
    for (const stream of ["BATON_REMAPS", "BATON_AUDIT"]) await manager.streams.delete(stream);
    const [only] = bench.coordinators;
    await only?.end("SIGKILL");
    only?.start();
    const text = async (stream: string, subject: string): Promise<string> => {
      const found = await manager.streams.getMessage(stream, { last_by_subj: subject }).catch(() => undefined);
      return found === undefined ? "" : found.string();
    };
    await bench.wait("the remap's end to be published", async () =>
      (await text("BATON_REMAPS", `baton.remaps.${id}`)).includes('"phase":"completed"'),
    );
    await bench.wait("the request to be published", async () =>
      (await text("BATON_AUDIT", "baton.audit.remap-create")).includes(`"record":"remap.${id}.1"`),
    );
    expect(await only?.end("SIGTERM")).toBe(0);
  });
});
