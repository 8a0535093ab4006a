/** A cluster of processes: trackers and coordinators that gossip, and a NATS server; and a client of theirs. */
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { TrackerPeers } from "../../src/rpc/tracker-peers.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import { EpochRecords } from "./epoch-records.ts";
import { freePort, startNatsServer, type TestNatsServer } from "./nats-server.ts";
import { countOf } from "./placement.ts";
import { ServiceProcess } from "./service-process.ts";
import { type TestDirectory, temporaryDirectory } from "./tracker.ts";
import { type TrackerProcess, trackerProcess } from "./tracker-process.ts";

/** Where a process lives: what it is run by, and its address there. */
export interface Place {
  readonly inside: readonly string[];
  readonly host: string;
}

export interface ClusterWish {
  readonly trackers: readonly string[];
  /** What the cluster begins with. */
  readonly listed: readonly string[];
  readonly coordinators: readonly string[];
  readonly shards: number;
  /** Address of the NATS server. */
  readonly natsHost?: string;
  /** By default all of them are on loopback. */
  readonly placeOf?: (name: string) => Place;
  readonly settleMs?: number;
}

const loopback: Place = { inside: [], host: "127.0.0.1" };
const stepMs = 90_000;

export class TrackerCluster implements AsyncDisposable {
  readonly nats: TestNatsServer;
  readonly directory: TestDirectory;
  readonly bus: NatsBus;
  readonly client: TrackerClient;
  readonly peers: TrackerPeers;
  readonly coordinators: ReadonlyMap<string, ServiceProcess>;
  readonly #trackers: ReadonlyMap<string, TrackerProcess>;
  readonly #shards: number;
  readonly #signal: AbortSignal;
  readonly #cleanUp: AsyncDisposableStack;
  #epochs: EpochRecords | undefined;

  private constructor(
    parts: Pick<TrackerCluster, "nats" | "directory" | "bus" | "client" | "peers" | "coordinators">,
    trackers: ReadonlyMap<string, TrackerProcess>,
    shards: number,
    signal: AbortSignal,
    cleanUp: AsyncDisposableStack,
  ) {
    this.nats = parts.nats;
    this.directory = parts.directory;
    this.bus = parts.bus;
    this.client = parts.client;
    this.peers = parts.peers;
    this.coordinators = parts.coordinators;
    this.#trackers = trackers;
    this.#shards = shards;
    this.#signal = signal;
    this.#cleanUp = cleanUp;
  }

  /** Nothing of it runs but NATS. */
  static async create(wish: ClusterWish, signal: AbortSignal): Promise<TrackerCluster> {
    const { trackers: names, coordinators: coordinatorNames, shards, listed, placeOf = () => loopback } = wish;
    await using cleanUp = new AsyncDisposableStack();
    const nats = cleanUp.use(await startNatsServer(wish.natsHost));
    const directory = cleanUp.use(await temporaryDirectory());
    const addresses = new Map<string, { readonly gossip: string; readonly grpc: string }>();
    for (const name of [...names, ...coordinatorNames]) {
      const { host } = placeOf(name);
      addresses.set(name, { gossip: `${host}:${await freePort()}`, grpc: `${host}:${await freePort()}` });
    }
    const seeds = [...addresses.values()].map(({ gossip }) => gossip);
    // All of them share this machine's processors.
    const gossipOf = (name: string) => ({ listen: addresses.get(name)?.gossip, seeds, load: ["loop", "delay"] });
    const endpointOf = (name: string): string => addresses.get(name)?.grpc ?? "";
    const servers = nats.servers;
    const trackers = new Map<string, TrackerProcess>();
    for (const name of names) {
      const settle = wish.settleMs === undefined ? {} : { settleMs: wish.settleMs };
      const options = { servers, shards, listed, gossip: gossipOf(name), endpointOf, ...placeOf(name), ...settle };
      trackers.set(name, cleanUp.use(await trackerProcess(directory, name, options)));
    }
    const coordinators = new Map<string, ServiceProcess>();
    for (const name of coordinatorNames) {
      const config = {
        ...{ name, listen: [endpointOf(name)], trackers: names.map(endpointOf), nats: { servers }, shards },
        ...{ fabric: ["10.77.0.0/24"], publicPrefixes: ["203.0.113.0/24"], gossip: gossipOf(name) },
      };
      coordinators.set(name, cleanUp.use(await ServiceProcess.create("coordinator", config, placeOf(name).inside)));
    }
    const parts = {
      ...{ nats, directory, coordinators },
      bus: cleanUp.use(connectBus({ servers, name: "test" })),
      client: cleanUp.use(new TrackerClient(listed.map(endpointOf))),
      peers: cleanUp.use(new TrackerPeers()),
    };
    return new TrackerCluster(parts, trackers, shards, signal, cleanUp.move());
  }

  get names(): readonly string[] {
    return [...this.#trackers.keys()];
  }

  /** After {@link start}. */
  get epochs(): EpochRecords {
    if (this.#epochs === undefined) throw new Error("the cluster has not been started");
    return this.#epochs;
  }

  tracker(name: string): TrackerProcess {
    const found = this.#trackers.get(name);
    if (found === undefined) throw new Error(`there is no tracker ${name}`);
    return found;
  }

  /** These trackers, and all coordinators. */
  async start(...names: readonly string[]): Promise<void> {
    await this.join(...names);
    for (const coordinator of this.coordinators.values()) coordinator.start();
    this.#epochs = this.#cleanUp.use(await EpochRecords.watch(this.bus, this.#shards, this.#signal));
    await this.until(() => this.epochs.current !== undefined, "the first epoch");
  }

  async join(...names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.tracker(name).start()));
  }

  until(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = stepMs): Promise<true> {
    return waitFor(condition, { signal: this.#signal, timeoutMs, what, intervalMs: 100 });
  }

  copiesOf(name: string): number {
    return countOf(this.#epochs?.current, name);
  }

  /** Two copies of each shard, at these in about equal parts and nobody else; with one member, one copy. */
  haveTheirParts(...members: readonly string[]): boolean {
    const copies = Math.min(2, members.length) * this.#shards;
    const total = this.names.reduce((sum, name) => sum + this.copiesOf(name), 0);
    return (
      total === copies &&
      this.names.every((name) =>
        members.includes(name)
          ? this.copiesOf(name) >= Math.floor((0.75 * copies) / members.length)
          : this.copiesOf(name) === 0,
      )
    );
  }

  /** Every copy that the newest epoch names is served, and no other is left anywhere. */
  async isServedAsPlaced(): Promise<boolean> {
    for (const name of this.names) {
      const report = await this.peers.report(this.tracker(name).endpoint, [], this.#signal);
      const phases = [...(report?.replicas.values() ?? [])].map(({ phase }) => phase);
      const serving = phases.filter((phase) => phase === "serving").length;
      if (serving !== this.copiesOf(name) || phases.length !== serving) return false;
    }
    return true;
  }

  /** These have their parts, and answer for them, and nobody else does. */
  async settled(...members: readonly string[]): Promise<void> {
    await this.until(() => this.haveTheirParts(...members), `${members.join(", ")} to have their parts`);
    await this.until(() => this.isServedAsPlaced(), "all copies to be served, and no others");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanUp[Symbol.asyncDispose]();
  }
}
