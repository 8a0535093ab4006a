/**
 * Who holds which shard, and a connection to each tracker that was asked.
 *
 * Assignments have epochs. A refusal that names a higher one than the assignment held here makes it fetched anew; one
 * that comes from a tracker which is behind does not, and an older assignment never replaces a newer one.
 */
import { abortable } from "../bus/abortable.ts";
import { TrackerServiceClient } from "../gen/baton/v1/tracker.ts";
import { type Assignment, holdersOf } from "../placement/assignment.ts";
import { sleep } from "../runtime/retry.ts";
import { dial, unary } from "./client.ts";
import { fromServiceError, isUnreachable, type ReceivedError } from "./errors.ts";
import { readAssignment } from "./flow-codec.ts";
import { hedge } from "./hedge.ts";

/** How long a call may last. */
export interface Bounds {
  readonly signal: AbortSignal;
  /** By performance.now(); Infinity: as long as the signal allows. */
  readonly endMs: number;
}

/** Calls of this client, with what is left of their time. */
export type Call<T> = (client: TrackerServiceClient, signal: AbortSignal, leftMs: number) => Promise<T>;
export type OpenStream<T> = (
  client: TrackerServiceClient,
  signal: AbortSignal,
  leftMs: number,
) => AsyncGenerator<T, void, undefined>;

/** A tracker that is silent for this long doesn't keep the standby from being asked. */
const patienceMs = 250;
const assignmentDeadlineMs = 2_000;
/** After nobody could be asked. */
const againMs = 200;

export class TrackerDirectory implements Disposable {
  readonly #endpoints: readonly string[];
  readonly #clients = new Map<string, TrackerServiceClient>();
  #assignment: Promise<Assignment> | undefined;
  #newest: Assignment | undefined;
  /** Of the highest epoch that any tracker has named. */
  #epochTold = 0n;

  constructor(endpoints: readonly string[]) {
    this.#endpoints = endpoints;
  }

  async shards(bounds: Bounds): Promise<number> {
    return (await this.#learn(bounds)).holders.length;
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

  /** Asks the shard's holders until one answers or time is up. `isGood`: worth not asking the standby as well. */
  async ask<T>(shard: number, bounds: Bounds, call: Call<T>, isGood?: (answer: T) => boolean): Promise<T> {
    return await this.#untilAnswered(shard, bounds, call, { ...(isGood === undefined ? {} : { isGood }) });
  }

  /** Messages of the first holder that sends one. What breaks after that is thrown. */
  async *stream<T>(shard: number, bounds: Bounds, open: OpenStream<T>): AsyncGenerator<T, void, undefined> {
    const { messages, first } = await this.#untilAnswered(
      shard,
      bounds,
      async (client, signal, leftMs) => {
        const opened = open(client, signal, leftMs);
        return { messages: opened, first: await opened.next() };
      },
      { discard: (late) => void late.messages.return() },
    );
    try {
      if (first.done) return;
      yield first.value;
      yield* messages;
    } finally {
      await messages.return();
    }
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  async #untilAnswered<T>(
    shard: number,
    bounds: Bounds,
    call: Call<T>,
    judge: { readonly isGood?: (answer: T) => boolean; readonly discard?: (answer: T) => void },
  ): Promise<T> {
    for (;;) {
      try {
        const assignment = await this.#learn(bounds);
        const attempts = holdersOf(assignment, shard).map(({ endpoint }) => async (signal: AbortSignal) => {
          try {
            return await call(this.#client(endpoint), signal, leftMs(bounds));
          } catch (error) {
            this.#heed(fromServiceError(error));
            throw error;
          }
        });
        return await hedge(attempts, { ...judge, signal: bounds.signal, patienceMs });
      } catch (error) {
        bounds.signal.throwIfAborted();
        const received = fromServiceError(error);
        const mayMend = isUnreachable(received) || received.code === "SHARD_MOVED";
        if (!mayMend || leftMs(bounds) < againMs) throw error;
        if (received.code !== "SHARD_MOVED") this.#assignment = undefined;
      }
      await sleep(againMs, bounds.signal);
    }
  }

  /** A higher epoch than the one held: asked for before the next question, whoever answers this one. */
  #heed(error: ReceivedError): void {
    const epoch = epochOf(error);
    if (epoch === undefined || epoch <= this.#epochTold) return;
    this.#epochTold = epoch;
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
    const attempts = this.#endpoints.map((endpoint) => async (signal: AbortSignal) => {
      const bounds = { signal, deadlineMs: assignmentDeadlineMs };
      return readAssignment(await unary(this.#client(endpoint), "getAssignment", {}, bounds));
    });
    const isGood = ({ epoch }: Assignment): boolean => epoch >= this.#epochTold;
    // Each is bounded in time; nobody's impatience may cost the others the answer.
    const { signal } = new AbortController();
    const told = await hedge(attempts, { signal, patienceMs, isGood });
    if (this.#newest === undefined || told.epoch >= this.#newest.epoch) this.#newest = told;
    return this.#newest;
  }

  #client(endpoint: string): TrackerServiceClient {
    let client = this.#clients.get(endpoint);
    if (client === undefined) {
      client = dial(TrackerServiceClient, endpoint);
      this.#clients.set(endpoint, client);
    }
    return client;
  }
}

const epochForm = /^[0-9]{1,19}$/;

function epochOf({ code, details }: ReceivedError): bigint | undefined {
  const epoch = details["epoch"];
  return code === "SHARD_MOVED" && epoch !== undefined && epochForm.test(epoch) ? BigInt(epoch) : undefined;
}

export function leftMs({ endMs }: Bounds): number {
  return Math.max(0, endMs - performance.now());
}
