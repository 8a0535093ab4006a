/**
 * WatchFlows: a snapshot of the matching flows, then every change to them; or, for a watcher that was here before, only
 * what has changed since.
 *
 * A watcher that reads too slowly is ended instead of waited for; it resumes, and a fresh snapshot costs less than a
 * queue without bound. The same happens when the shard is built anew, or moves away, or when
 * the address's flows lie in other shards from now on. A page's position is reached only with that page:
 * whoever was given a part of something goes on from before it.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { IpAddress } from "../flow/address.ts";
import type { Flow } from "../flow/flow.ts";
import type { FlowWatchPage, WatchFlowsRequest } from "../gen/baton/v1/tracker.ts";
import type { Layout } from "../placement/layout.ts";
import type { FlowChanges } from "../tracker/flow-changes.ts";
import type { FlowQuery } from "../tracker/owner-index.ts";
import type { FlowFeed, ShardReplica } from "../tracker/replica.ts";
import type { Tracker } from "../tracker/tracker.ts";
import type { DetailedError } from "./errors.ts";
import { type Decoded, decode, readAddress, readName } from "./fields.ts";
import {
  flowToProto,
  readPositions,
  readWatchPositions,
  type WatchPosition,
  watchPositionsToProto,
} from "./flow-codec.ts";
import { type CallContext, Refusal } from "./handler.ts";
import { readOptionalLayout } from "./layout-codec.ts";
import { unreadChangesMax, untoldChangesMax } from "./tracker-limits.ts";
import { caughtUp, checkPlace, layoutError, movedError, pagesOf, shardAsked } from "./tracker-wait.ts";

interface Asked {
  readonly query: FlowQuery;
  readonly after: readonly WatchPosition[];
  readonly atLeast: ReturnType<typeof readPositions>;
  readonly layout: Layout;
}

export async function* watchFlows(
  tracker: Tracker,
  request: WatchFlowsRequest,
  context: CallContext,
): AsyncGenerator<FlowWatchPage> {
  const asked = readRequest(request);
  if (!asked.ok) throw new Refusal({ code: "INVALID_ARGUMENT", message: asked.message });
  const { query, after, atLeast, layout } = asked.value;
  const wanted = shardAsked(tracker, query.address, layout, request.of?.shard);
  const replica = await caughtUp(tracker, wanted, [...atLeast, ...after], context);
  checkPlace(tracker, replica, query.address, layout);
  const { shard } = replica;
  const log = tracker.changesOf(shard);
  const { history } = log;
  const changes = new UnreadChanges(query, {
    moved: () => movedError(tracker, shard),
    relaid: () => layoutError(tracker, query.address),
  });
  using _feed = replica.subscribe(changes);
  const from = after.find((position) => position.shard === shard);
  const missed = from?.history === undefined ? undefined : log.since(from.history, from.sequence, query);
  let position: WatchPosition = { shard, sequence: replica.table.sequence, history };
  if (from === undefined || missed === undefined) yield* snapshotPages(replica, query, position);
  else yield* changePages(missed, from, position);
  for (;;) {
    const { flows, sequence } = await changes.next(context.signal);
    const reached = { shard, sequence, history };
    yield* changePages(flows, position, reached);
    position = reached;
  }
}

function readRequest(request: WatchFlowsRequest): Decoded<Asked> {
  return decode(() => ({
    query: {
      address: readAddress("address", request.address),
      ...(request.owner === "" ? {} : { owner: readName("owner", request.owner) }),
    },
    after: readWatchPositions("after", request.after),
    atLeast: readPositions("at_least", request.atLeast),
    layout: readOptionalLayout("of.layout", request.of?.layout),
  }));
}

async function* snapshotPages(
  replica: ShardReplica,
  query: FlowQuery,
  position: WatchPosition,
): AsyncGenerator<FlowWatchPage> {
  const positions = watchPositionsToProto([position]);
  for (const { items, isLast } of pagesOf(replica.table.flowsOf(query))) {
    // A page costs some milliseconds; who asks meanwhile must not wait for all of them.
    await nextTurn();
    yield {
      content: { $case: "snapshot", value: { flows: items.map(flowToProto), positions } },
      snapshotComplete: isLast,
    };
  }
}

async function* changePages(
  flows: readonly Flow[],
  before: WatchPosition,
  reached: WatchPosition,
): AsyncGenerator<FlowWatchPage> {
  for (const { items, isLast } of pagesOf(flows)) {
    const positions = watchPositionsToProto([isLast ? reached : before]);
    yield {
      content: { $case: "changes", value: { flows: items.map(flowToProto), positions } },
      snapshotComplete: false,
    };
    if (!isLast) await nextTurn();
  }
}

/** What a watcher is told whose watch ends. */
interface Reasons {
  readonly moved: () => DetailedError;
  readonly relaid: () => DetailedError;
}

class UnreadChanges implements FlowFeed {
  readonly #query: FlowQuery;
  readonly #reasons: Reasons;
  #flows: Flow[] = [];
  /** Changes since the last page that were not for this watcher. */
  #others = 0;
  #sequence = 0n;
  #refusal: Refusal | undefined;
  #wake: (() => void) | undefined;

  constructor(query: FlowQuery, reasons: Reasons) {
    this.#query = query;
    this.#reasons = reasons;
  }

  changed(changes: FlowChanges, sequence: bigint): void {
    if (this.#refusal !== undefined) return;
    const before = this.#flows.length;
    for (const flow of changes.matching(this.#query)) this.#flows.push(flow);
    this.#others += changes.length - (this.#flows.length - before);
    this.#sequence = sequence;
    if (this.#flows.length > unreadChangesMax)
      this.#refuse({
        code: "LIMIT_EXCEEDED",
        message: `more than ${unreadChangesMax} changes were not read; watch again`,
      });
    if (this.#isWorthAPage) this.#wake?.();
  }

  reset(): void {
    this.#refuse({ code: "STORE_UNAVAILABLE", message: "the shard is built anew; watch again" });
  }

  moved(): void {
    this.#refuse(this.#reasons.moved());
  }

  relaid(addresses: ReadonlySet<IpAddress>): void {
    if (addresses.has(this.#query.address)) this.#refuse(this.#reasons.relaid());
  }

  async next(signal: AbortSignal): Promise<{ readonly flows: readonly Flow[]; readonly sequence: bigint }> {
    while (!this.#isWorthAPage && this.#refusal === undefined) {
      signal.throwIfAborted();
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = (): void => resolve();
      this.#wake = wake;
      signal.addEventListener("abort", wake, { once: true });
      await promise;
      signal.removeEventListener("abort", wake);
    }
    if (this.#refusal !== undefined) throw this.#refusal;
    const flows = this.#flows;
    this.#flows = [];
    this.#others = 0;
    return { flows, sequence: this.#sequence };
  }

  /** A watcher whose position stood still would find the log too short when it comes back. */
  get #isWorthAPage(): boolean {
    return this.#flows.length > 0 || this.#others >= untoldChangesMax;
  }

  #refuse(error: DetailedError): void {
    this.#refusal = new Refusal(error);
    this.#flows = [];
    this.#wake?.();
  }
}
