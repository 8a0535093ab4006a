/**
 * Who holds which shard, and one connection to each tracker that was asked.
 *
 * Assignments have epochs. A refusal that names a higher one than the assignment held here makes it fetched anew; one
 * that comes from a tracker which is behind does not, and an older assignment never replaces a newer one. A refusal of
 * this epoch or a later one also names who answers meanwhile, and that tracker is asked at once.
 *
 * Any tracker tells the assignment: those that the client was given, and those that an assignment named later.
 */
import { abortable } from "../bus/abortable.ts";
import type { IpAddress } from "../flow/address.ts";
import { TrackerServiceClient } from "../gen/baton/v1/tracker.ts";
import type { ShardPosition } from "../node/state.ts";
import { type Assignment, holdersOf } from "../placement/assignment.ts";
import { type Layout, type LayoutMap, layoutOf, shardsOf } from "../placement/layout.ts";
import { sleep } from "../runtime/retry.ts";
import { dial, unary } from "./client.ts";
import { parseEndpoint } from "./endpoint.ts";
import { fromServiceError, isUnreachable, type ReceivedError } from "./errors.ts";
import { readAssignment } from "./flow-codec.ts";
import { hedge } from "./hedge.ts";
import { readReport } from "./replica-codec.ts";

/** How long a call may last. */
export interface Bounds {
  readonly signal: AbortSignal;
  /** By performance.now(); Infinity: as long as the signal allows. */
  readonly endMs: number;
}

/** Calls of this client, with what is left of their time. */
export type Call<T> = (client: TrackerServiceClient, signal: AbortSignal, leftMs: number) => Promise<T>;
export type GroupCall<T> = (
  shards: readonly number[],
  client: TrackerServiceClient,
  signal: AbortSignal,
  leftMs: number,
) => Promise<T>;
type EndpointCall<T> = (endpoint: string, signal: AbortSignal) => Promise<T>;
export type OpenStream<T> = (
  client: TrackerServiceClient,
  signal: AbortSignal,
  leftMs: number,
) => AsyncGenerator<T, void, undefined>;

export interface AddressShards {
  readonly layout: Layout;
  /** Those that are new first. */
  readonly shards: readonly number[];
}

interface Peer {
  readonly client: TrackerServiceClient;
  /** Calls and streams that are under way. */
  uses: number;
}

interface Judge<T> {
  readonly isGood?: (answer: T) => boolean;
  readonly discard?: (answer: T) => void;
}

/** A tracker that is silent for this long doesn't keep the standby from being asked. */
const patienceMs = 250;
const assignmentDeadlineMs = 2_000;
/** Trackers that are asked whether they still have a shard which they should not hold. */
const othersMax = 8;
const noLayouts: LayoutMap = new Map();
/** After nobody could be asked. */
const againMs = 200;

export class TrackerDirectory implements Disposable {
  readonly #seeds: readonly string[];
  readonly #peers = new Map<string, Peer>();
  #assignment: Promise<Assignment> | undefined;
  #newest: Assignment | undefined;
  /** The one before it: who held a shard then answers for it until others do. */
  #former: Assignment | undefined;
  /** Of the highest epoch that any tracker has named. */
  #epochTold = 0n;

  constructor(seeds: readonly string[]) {
    this.#seeds = seeds;
  }

  async shards(bounds: Bounds): Promise<number> {
    return (await this.#learn(bounds)).holders.length;
  }

  async layouts(bounds: Bounds): Promise<LayoutMap> {
    return (await this.#learn(bounds)).layouts ?? noLayouts;
  }

  /** Asked for anew. */
  async newestLayouts(bounds: Bounds): Promise<LayoutMap> {
    this.#assignment = undefined;
    return await this.layouts(bounds);
  }

  /** Where the address's flows may be, and by which layout. `atLeast`: positions of it, by a layout that is perhaps newer. */
  async shardsFor(address: IpAddress, atLeast: readonly ShardPosition[], bounds: Bounds): Promise<AddressShards> {
    const known = await this.#shardsOf(address, bounds);
    if (atLeast.every(({ shard }) => known.shards.includes(shard))) return known;
    this.#assignment = undefined;
    return await this.#shardsOf(address, bounds);
  }

  async #shardsOf(address: IpAddress, bounds: Bounds): Promise<AddressShards> {
    const { holders, layouts } = await this.#learn(bounds);
    const layout = layoutOf(layouts, address);
    return { layout, shards: shardsOf(address, layout, holders.length) };
  }

  /** The shards, together with others that the same trackers hold. */
  async groups(shards: readonly number[], bounds: Bounds): Promise<number[][]> {
    const assignment = await this.#learn(bounds);
    const byHolders = Map.groupBy(shards, (shard) => {
      return holdersOf(assignment, shard)
        .map(({ endpoint }) => endpoint)
        .join(" ");
    });
    return [...byHolders.values()];
  }

  /**
   * Asks the shard's holders, again every 200 ms until one answers or time is up. `isGood`: worth not asking the standby
   * as well.
   */
  async ask<T>(shard: number, bounds: Bounds, call: Call<T>, isGood?: (answer: T) => boolean): Promise<T> {
    return await this.#untilAnswered(shard, bounds, this.#unary(call, bounds), isGood === undefined ? {} : { isGood });
  }

  /** Asks the shard's holders, or who answers in their stead, a single time. */
  async askOnce<T>(shard: number, bounds: Bounds, call: Call<T>): Promise<T> {
    return await this.#askOnce(shard, bounds, this.#unary(call, bounds), {});
  }

  /** Asks for shards of the same holders at once; one by one where they can't answer for all, as while some move. */
  async askTogether<T>(
    shards: readonly number[],
    bounds: Bounds,
    call: GroupCall<T>,
    isGood: (answer: T) => boolean = () => true,
  ): Promise<T[]> {
    const [first] = shards;
    if (first !== undefined && shards.length > 1) {
      const together = this.#unary((client, signal, leftMs) => call(shards, client, signal, leftMs), bounds);
      try {
        return [await this.#askOnce(first, bounds, together, { isGood })];
      } catch (error) {
        bounds.signal.throwIfAborted();
        if (!mayMend(fromServiceError(error))) throw error;
      }
    }
    const alone = (shard: number): Promise<T> =>
      this.ask(shard, bounds, (client, signal, leftMs) => call([shard], client, signal, leftMs), isGood);
    return await Promise.all(shards.map(alone));
  }

  /** Messages of the first holder that sends one. What breaks after that is thrown. */
  async *stream<T>(shard: number, bounds: Bounds, open: OpenStream<T>): AsyncGenerator<T, void, undefined> {
    const begin = async (endpoint: string, signal: AbortSignal) => {
      const use = this.#use(endpoint);
      try {
        const messages = open(use.client, signal, leftMs(bounds));
        return { use, messages, first: await messages.next() };
      } catch (error) {
        use[Symbol.dispose]();
        throw error;
      }
    };
    const discard = (late: Awaited<ReturnType<typeof begin>>): void => {
      void late.messages.return().finally(() => late.use[Symbol.dispose]());
    };
    const { use, messages, first } = await this.#untilAnswered(shard, bounds, begin, { discard });
    using _use = use;
    try {
      if (first.done) return;
      yield first.value;
      yield* messages;
    } catch (error) {
      this.#heed(fromServiceError(error));
      throw error;
    } finally {
      await messages.return();
    }
  }

  [Symbol.dispose](): void {
    for (const { client } of this.#peers.values()) client.close();
    this.#peers.clear();
  }

  #unary<T>(call: Call<T>, bounds: Bounds): EndpointCall<T> {
    return async (endpoint, signal) => {
      using use = this.#use(endpoint);
      return await call(use.client, signal, leftMs(bounds));
    };
  }

  async #untilAnswered<T>(shard: number, bounds: Bounds, call: EndpointCall<T>, judge: Judge<T>): Promise<T> {
    for (;;) {
      try {
        return await this.#askOnce(shard, bounds, call, judge);
      } catch (error) {
        bounds.signal.throwIfAborted();
        const received = fromServiceError(error);
        if (!mayMend(received) || leftMs(bounds) < againMs) throw error;
      }
      await sleep(againMs, bounds.signal);
    }
  }

  /**
   * The holders, and whom they name in their stead. Where none of them can be reached, who has given the shard up and
   * still answers for it, for want of anybody who has taken it over.
   */
  async #askOnce<T>(shard: number, bounds: Bounds, call: EndpointCall<T>, judge: Judge<T>): Promise<T> {
    const assignment = await this.#learn(bounds);
    const held = this.#assignment;
    const asked = new Set<string>();
    const attempt = (endpoint: string) => async (signal: AbortSignal) => {
      asked.add(endpoint);
      try {
        return await call(endpoint, signal);
      } catch (error) {
        const received = fromServiceError(error);
        this.#heed(received);
        const instead = signal.aborted ? undefined : insteadOf(received, assignment.epoch);
        if (instead === undefined || asked.has(instead)) throw error;
        asked.add(instead);
        return await call(instead, signal);
      }
    };
    const options = { ...judge, signal: bounds.signal, patienceMs };
    const holders = holdersOf(assignment, shard).map(({ endpoint }) => endpoint);
    try {
      return await hedge(holders.map(attempt), options);
    } catch (error) {
      bounds.signal.throwIfAborted();
      if (!isUnreachable(fromServiceError(error))) throw error;
      // Others may hold the shard by now. Whoever can't be reached does not say so, and silence may have taken all the time.
      if (this.#assignment === held) this.#assignment = undefined;
      const others = [...this.#known()].filter((endpoint) => !asked.has(endpoint)).slice(0, othersMax);
      const giver = await this.#findGiver(shard, assignment.epoch, others, bounds);
      if (giver === undefined) throw error;
      return await call(giver, bounds.signal);
    }
  }

  /** Who answers for a shard that it has given up, by an epoch that is not behind this one. */
  async #findGiver(
    shard: number,
    epoch: bigint,
    endpoints: readonly string[],
    bounds: Bounds,
  ): Promise<string | undefined> {
    const look = (endpoint: string) => async (signal: AbortSignal) => {
      using use = this.#use(endpoint);
      const deadlineMs = Math.min(leftMs(bounds), assignmentDeadlineMs);
      const report = readReport(await unary(use.client, "listReplicas", { shards: [shard] }, { signal, deadlineMs }));
      const isLeaving = report.epoch >= epoch && report.replicas.get(shard)?.phase === "leaving";
      return isLeaving ? endpoint : undefined;
    };
    try {
      const isGood = (endpoint: string | undefined): boolean => endpoint !== undefined;
      return await hedge(endpoints.map(look), { isGood, signal: bounds.signal, patienceMs });
    } catch {
      // Nobody says so; why not is no matter.
      bounds.signal.throwIfAborted();
      return undefined;
    }
  }

  /** A higher epoch than the one held: asked for before the next question, whoever answers this one. */
  #heed(error: ReceivedError): void {
    const epoch = epochOf(error);
    if (epoch === undefined) return;
    // Who was asked before may not have heard of the layout yet: the caller bounds how often it comes back.
    if (epoch <= this.#epochTold && error.code !== "LAYOUT_CHANGED") return;
    if (epoch > this.#epochTold) this.#epochTold = epoch;
    if (this.#newest === undefined || this.#newest.epoch < epoch) this.#assignment = undefined;
  }

  async #learn(bounds: Bounds): Promise<Assignment> {
    while (this.#assignment === undefined) {
      const learning = this.#askAnyone();
      this.#assignment = learning;
      const forget = (): void => {
        if (this.#assignment === learning) this.#assignment = undefined;
      };
      learning.catch(forget);
      try {
        return await abortable(learning, bounds.signal);
      } catch (error) {
        bounds.signal.throwIfAborted();
        if (leftMs(bounds) < againMs) throw error;
        await sleep(againMs, bounds.signal);
      }
    }
    return await abortable(this.#assignment, bounds.signal);
  }

  async #askAnyone(): Promise<Assignment> {
    const attempts = [...this.#known()].map((endpoint) => async (signal: AbortSignal) => {
      const bounds = { signal, deadlineMs: assignmentDeadlineMs };
      using use = this.#use(endpoint);
      return readAssignment(await unary(use.client, "getAssignment", {}, bounds));
    });
    const isGood = ({ epoch }: Assignment): boolean => epoch >= this.#epochTold;
    // Each is bounded in time; nobody's impatience may cost the others the answer.
    const { signal } = new AbortController();
    const told = await hedge(attempts, { signal, patienceMs, isGood });
    if (this.#newest === undefined || told.epoch > this.#newest.epoch) this.#former = this.#newest;
    if (this.#newest === undefined || told.epoch >= this.#newest.epoch) this.#newest = told;
    for (const endpoint of [...this.#peers.keys()]) this.#closeUnused(endpoint);
    return this.#newest;
  }

  /** Trackers that may be asked for the assignment: given ones, and those of this assignment and the one before it. */
  #known(): ReadonlySet<string> {
    const named = [this.#newest, this.#former].flatMap((assignment) =>
      (assignment?.holders ?? []).flatMap(({ primary, standby = primary }) => [primary.endpoint, standby.endpoint]),
    );
    return new Set([...this.#seeds, ...named]);
  }

  #use(endpoint: string): Disposable & { readonly client: TrackerServiceClient } {
    const peer = this.#peers.get(endpoint) ?? { client: dial(TrackerServiceClient, endpoint), uses: 0 };
    this.#peers.set(endpoint, peer);
    peer.uses++;
    return {
      client: peer.client,
      [Symbol.dispose]: () => {
        peer.uses--;
        this.#closeUnused(endpoint);
      },
    };
  }

  /** The connection to a tracker that neither of the last two assignments names, once nothing goes over it. */
  #closeUnused(endpoint: string): void {
    const peer = this.#peers.get(endpoint);
    if (peer === undefined || peer.uses > 0 || this.#known().has(endpoint)) return;
    this.#peers.delete(endpoint);
    peer.client.close();
  }
}

/** Asking again may help. */
function mayMend(error: ReceivedError): boolean {
  return isUnreachable(error) || error.code === "SHARD_MOVED";
}

const epochForm = /^[0-9]{1,19}$/;

function epochOf({ code, details }: ReceivedError): bigint | undefined {
  const epoch = details["epoch"];
  return (code === "SHARD_MOVED" || code === "LAYOUT_CHANGED") && epoch !== undefined && epochForm.test(epoch)
    ? BigInt(epoch)
    : undefined;
}

/** Who answers in the stead of who has refused, by an epoch that is not behind the one held here. */
function insteadOf(error: ReceivedError, epoch: bigint): string | undefined {
  const told = epochOf(error);
  const leader = error.details["leader"];
  if (told === undefined || told < epoch || leader === undefined) return undefined;
  return parseEndpoint(leader) === undefined ? undefined : leader;
}

export function leftMs({ endMs }: Bounds): number {
  return Math.max(0, endMs - performance.now());
}
