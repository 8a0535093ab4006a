/**
 * One coordinator process: a follower until it wins a term, then the leader until it loses it, and so on.
 *
 * Owns the watch of the store, the election, and which leadership answers calls. A follower turns every call and every
 * node away with NOT_LEADER and the leader's endpoint.
 */

import type { KvBucket } from "../bus/kv.ts";
import type { IpAddress } from "../flow/address.ts";
import type { NodeHello, NodeStatus } from "../node/status.ts";
import { hasEnded } from "../remap/phase.ts";
import type { Remap } from "../remap/remap.ts";
import { remapOf } from "../remap/view.ts";
import type { AddressWish, RemapOrder, RemapWish } from "../rpc/coordinator-server.ts";
import type { DetailedError } from "../rpc/errors.ts";
import { Refusal, type Reply } from "../rpc/handler.ts";
import type { AddressView, GatewayView, InstanceView } from "../rpc/inventory-codec.ts";
import type { Greeting, NodeStream } from "../rpc/node-stream.ts";
import type { RemapPreview } from "../rpc/remap-codec.ts";
import { isAbort, sleep } from "../runtime/retry.ts";
import { Election, type ElectionOptions } from "./election.ts";
import { type Leader, type LeaderOptions, lead, takeOver } from "./leader.ts";
import { Mirror } from "./mirror.ts";
import type { RemapFeed } from "./remap-feed.ts";

export interface CoordinatorOptions
  extends Omit<LeaderOptions, "mirror" | "bucket" | "events" | "hear">,
    Omit<ElectionOptions, "bucket" | "mirror" | "heard"> {
  /** Waits for the connection; throws the abort reason. */
  readonly openBucket: (signal: AbortSignal) => Promise<KvBucket>;
  /** Calls back when the connection to the store is lost. */
  readonly onStoreLost: (listener: () => void) => Disposable;
  /** Why the store can't be reached; undefined: it can, as far as is known. */
  readonly storeTrouble: () => string | undefined;
  readonly events: LeaderOptions["events"];
  readonly feed: RemapFeed;
  readonly flowAges: (address: IpAddress, owner: string, signal: AbortSignal) => Promise<FlowAges>;
}

export interface FlowAges {
  readonly flows: number;
  readonly medianAgeMs?: number;
  readonly oldestAgeMs?: number;
}

/** Before the store is read anew. */
const rereadPauseMs = 200;

export class Coordinator {
  readonly #options: CoordinatorOptions;
  #election: Election | undefined;
  #leader: Leader | undefined;
  /** The highest term that a node was heard to obey: the next one that is claimed has to be above it. */
  #heard = 0n;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
  }

  get leader(): Leader | undefined {
    return this.#leader;
  }

  /** It can answer, or say who does. */
  get settled(): boolean {
    return this.#leader !== undefined || this.#otherLeader() !== undefined;
  }

  /** Follows and leads until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#serve(signal);
      } catch (error) {
        if (isAbort(error, signal)) return;
        log.error({ error }, "the store can't be followed; trying again");
      }
      await sleep(rereadPauseMs, signal).catch(() => undefined);
    }
  }

  /** From one reading of the store to the loss of its connection: what was read before may not hold after. */
  async #serve(outer: AbortSignal): Promise<void> {
    const bucket = await this.#options.openBucket(outer);
    const end = new AbortController();
    using _lost = this.#options.onStoreLost(() => end.abort(new Error("the connection to the store was lost")));
    const signal = AbortSignal.any([outer, end.signal]);
    const mirror = new Mirror();
    const election = new Election({ ...this.#options, bucket, mirror, heard: () => this.#heard });
    this.#election = election;
    const watching = bucket
      .watch(
        (change) => mirror.apply(change),
        () => mirror.noteComplete(),
        signal,
      )
      .finally(() => end.abort(new Error("the watch of the store ended")));
    try {
      while (!signal.aborted) await this.#term(election, bucket, mirror, signal);
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    } finally {
      end.abort(new Error("the store is read anew"));
      await watching;
      this.#election = undefined;
    }
  }

  async #term(election: Election, bucket: KvBucket, mirror: Mirror, signal: AbortSignal): Promise<void> {
    const term = await election.win(signal);
    const hear = (heard: bigint): void => {
      if (heard > this.#heard) this.#heard = heard;
    };
    const options = { ...this.#options, bucket, mirror, hear };
    try {
      const leader = await takeOver(term, options);
      this.#leader = leader;
      await lead(leader, term, options);
    } catch (error) {
      if (!isAbort(error, term.signal)) throw error;
    } finally {
      this.#leader = undefined;
      term.resign("the term has ended");
    }
  }

  /** For the node service. */
  greet(hello: NodeHello, stream: NodeStream): Greeting {
    const leader = this.#leader;
    if (leader === undefined) return { kind: "refused", error: this.notLeader() };
    const listener = {
      status: (status: NodeStatus) => leader.conductor.report(hello.name, stream, status),
      closed: () => leader.conductor.disconnect(hello.name, stream),
    };
    // The stream must know its listener before the first order, or a refusal, goes out on it.
    queueMicrotask(() => leader.conductor.connect(hello, stream));
    return { kind: "welcome", listener };
  }

  createRemap(wish: RemapWish & { requestedBy: string; idempotencyKey: string }): Promise<Reply<Remap>> {
    return this.#led((leader) => leader.remaps.create(wish));
  }

  previewRemap(wish: RemapWish, signal: AbortSignal): Promise<Reply<RemapPreview>> {
    return this.#led(async (leader) => {
      const plan = leader.remaps.plan({ ...wish, requestedBy: "", idempotencyKey: "" });
      const [refusal] = plan.refusals;
      if (plan.source === "") return { ok: false, error: refusal ?? { code: "INTERNAL", message: "no source" } };
      const { address, target, policy } = wish;
      const ages = await this.#options.flowAges(address, plan.source, signal);
      const { source, targetPrivate, channel, mtu, refusals, remarks } = plan;
      const preview: RemapPreview = {
        address,
        source,
        target,
        policy,
        refusals,
        remarks,
        ...ages,
        ...(mtu !== undefined && { mtu }),
        ...(targetPrivate !== undefined && { targetPrivate }),
        ...(channel !== undefined && { channel: { kind: channel.kind, mtu: channel.mtu, provenMtu: 0 } }),
      };
      return { ok: true, value: preview };
    });
  }

  getRemap(id: string): Promise<Reply<Remap>> {
    return this.#led(async (leader) => leader.remaps.get(id));
  }

  listRemaps(address: IpAddress | undefined, openOnly: boolean): Promise<Reply<readonly Remap[]>> {
    return this.#led(async (leader) => ({ ok: true, value: leader.remaps.list(address, openOnly) }));
  }

  async *watchRemap(id: string, signal: AbortSignal): AsyncGenerator<Remap, void, undefined> {
    const leader = this.#leader;
    if (leader === undefined) throw new Refusal(this.notLeader());
    let wake = Promise.withResolvers<void>();
    using _watch = this.#options.feed.watch(id, () => wake.resolve());
    const stop = (): void => wake.resolve();
    signal.addEventListener("abort", stop, { once: true });
    using _over = leader.conductor.onStop(stop);
    for (;;) {
      if (signal.aborted) return;
      if (this.#leader !== leader || leader.conductor.stopped) throw new Refusal(this.notLeader());
      const state = leader.cluster.remaps.get(id);
      if (state === undefined) throw new Refusal(refusalOf(leader.remaps.get(id)));
      wake = Promise.withResolvers<void>();
      yield remapOf(state);
      if (hasEnded(state.record)) return;
      await wake.promise;
    }
  }

  orderRemap(id: string, order: RemapOrder, by: string): Promise<Reply<Remap>> {
    return this.#led((leader) =>
      leader.remaps.command(id, { ...order, by } as Parameters<Leader["remaps"]["command"]>[1], by),
    );
  }

  listAddresses(): Promise<Reply<readonly AddressView[]>> {
    return this.#led(async (leader) => ({ ok: true, value: leader.inventory.addresses() }));
  }

  addAddress(wish: AddressWish, by: string): Promise<Reply<AddressView>> {
    return this.#led((leader) => leader.inventory.addAddress(wish, by));
  }

  removeAddress(address: IpAddress, by: string): Promise<Reply<void>> {
    return this.#led((leader) => leader.inventory.removeAddress(address, by));
  }

  listInstances(): Promise<Reply<readonly InstanceView[]>> {
    return this.#led(async (leader) => ({ ok: true, value: leader.inventory.instances() }));
  }

  removeInstance(name: string, by: string): Promise<Reply<void>> {
    return this.#led((leader) => leader.inventory.removeInstance(name, by));
  }

  listGateways(): Promise<Reply<readonly GatewayView[]>> {
    return this.#led(async (leader) => ({ ok: true, value: leader.inventory.gateways() }));
  }

  removeGateway(name: string, by: string): Promise<Reply<void>> {
    return this.#led((leader) => leader.inventory.removeGateway(name, by));
  }

  beginAnew(by: string): Promise<Reply<readonly string[]>> {
    return this.#led((leader) => leader.inventory.beginAnew(by));
  }

  async #led<T>(work: (leader: Leader) => Promise<Reply<T>>): Promise<Reply<T>> {
    const leader = this.#leader;
    return leader === undefined ? { ok: false, error: this.notLeader() } : await work(leader);
  }

  /** A lease of an earlier process at this endpoint leads nobody anywhere. */
  #otherLeader(): string | undefined {
    const endpoint = this.#election?.leaderEndpoint();
    return endpoint === this.#options.endpoint ? undefined : endpoint;
  }

  notLeader(): DetailedError {
    const endpoint = this.#otherLeader();
    const trouble = this.#options.storeTrouble();
    if (trouble !== undefined)
      return { code: "NOT_LEADER", message: `${this.#options.name} does not lead, for it has ${trouble}` };
    if (endpoint === undefined)
      return {
        code: "NOT_LEADER",
        message: `${this.#options.name} does not lead, and nobody else does yet: ask again`,
      };
    const message = `${this.#options.name} does not lead: ask ${endpoint}`;
    return { code: "NOT_LEADER", message, details: { leader: endpoint } };
  }
}

function refusalOf(reply: Reply<unknown>): DetailedError {
  return reply.ok ? { code: "INTERNAL", message: "a refusal was expected" } : reply.error;
}
