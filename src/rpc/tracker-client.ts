/**
 * Asks trackers about flows. Any of them tells who holds which shard; then the shard's primary is asked, and its standby
 * too as soon as the primary is silent for a quarter of a second, fails, or doesn't know.
 *
 * What a call throws is grpc-js's ServiceError, to be read by `fromServiceError`, or the abort reason.
 */
import type { FlowAnswer } from "../flow/answer.ts";
import type { Flow, FlowKey } from "../flow/flow.ts";
import type { ShardPosition } from "../node/state.ts";
import { listFlows } from "./list-client.ts";
import { LookupClient } from "./lookup-client.ts";
import { ShardClient } from "./shard-client.ts";
import { type Bounds, TrackerDirectory } from "./tracker-directory.ts";
import type {
  BarrierOutcome,
  CallOptions,
  CountQuery,
  FlowCounts,
  ListQuery,
  WatchEvent,
  WatchQuery,
} from "./tracker-queries.ts";
import { WatchClient } from "./watch-client.ts";

const defaultDeadlineMs = 5_000;

export class TrackerClient implements Disposable {
  readonly #directory: TrackerDirectory;
  readonly #lookups: LookupClient;
  readonly #watches: WatchClient;
  readonly #shards: ShardClient;

  /** host:port or unix:PATH of some trackers; one that answers is enough. */
  constructor(endpoints: readonly string[]) {
    this.#directory = new TrackerDirectory(endpoints);
    this.#lookups = new LookupClient(this.#directory);
    this.#watches = new WatchClient(this.#directory);
    this.#shards = new ShardClient(this.#directory);
  }

  /** One answer for each key, in order. Throws only the abort reason: keys that nobody could be asked about are `unknown`. */
  async lookup(
    keys: readonly FlowKey[],
    atLeast: readonly ShardPosition[] = [],
    options: CallOptions = {},
  ): Promise<FlowAnswer[]> {
    return await this.#lookups.lookup(keys, atLeast, boundsOf(options));
  }

  /** All flows that match, in pages, each shard of the address as of one moment. */
  list(query: ListQuery, options: CallOptions = {}): AsyncGenerator<Flow[], void, undefined> {
    return listFlows(this.#directory, query, boundsOf(options));
  }

  /**
   * All flows that match, then every change to them, until the signal aborts. Resumes by itself where it was; where the
   * tracker can't tell what has changed since, with a new snapshot, of which the first part says that it begins.
   */
  watch(query: WatchQuery, { signal }: { readonly signal: AbortSignal }): AsyncGenerator<WatchEvent, void, undefined> {
    return this.#watches.watch(query, signal);
  }

  async count(query: CountQuery, options: CallOptions = {}): Promise<FlowCounts> {
    return await this.#shards.count(query, boundsOf(options));
  }

  /** Waits until every position is applied and stored by a holder of its shard, at most `deadlineMs`. */
  async barrier(positions: readonly ShardPosition[], options: CallOptions = {}): Promise<BarrierOutcome> {
    return await this.#shards.barrier(positions, boundsOf(options));
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}

function boundsOf({ signal, deadlineMs = defaultDeadlineMs }: CallOptions): Bounds {
  return { signal: signal ?? new AbortController().signal, endMs: performance.now() + deadlineMs };
}
