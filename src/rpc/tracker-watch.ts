/**
 * WatchFlows: a snapshot of the matching flows, then every change to them.
 *
 * A watcher that reads too slowly is ended instead of waited for; it resumes, and a fresh snapshot costs less than a
 * queue without bound. The same happens when the shard is built anew.
 */
import type { Flow } from "../flow/flow.ts";
import type { FlowWatchPage, WatchFlowsRequest } from "../gen/baton/v1/tracker.ts";
import type { FlowFeed, ShardReplica } from "../tracker/replica.ts";
import type { Tracker } from "../tracker/tracker.ts";
import { decode, readAddress, readName } from "./fields.ts";
import { flowToProto, readPositions } from "./flow-codec.ts";
import { type CallContext, Refusal } from "./handler.ts";
import { unreadChangesMax } from "./tracker-limits.ts";
import { caughtUp, pagesOf } from "./tracker-wait.ts";

export async function* watchFlows(
  tracker: Tracker,
  request: WatchFlowsRequest,
  context: CallContext,
): AsyncGenerator<FlowWatchPage> {
  const asked = decode(() => ({
    address: readAddress("address", request.address),
    ...(request.owner === "" ? {} : { owner: readName("owner", request.owner) }),
    atLeast: [...readPositions("at_least", request.atLeast), ...readPositions("after", request.after)],
  }));
  if (!asked.ok) throw new Refusal({ code: "INVALID_ARGUMENT", message: asked.message });
  const { address, owner, atLeast } = asked.value;
  const replica = await caughtUp(tracker, tracker.shardOf(address), atLeast, context);
  const changes = new UnreadChanges(
    (flow) => flow.key.address === address && (owner === undefined || flow.owner === owner),
  );
  using _feed = replica.subscribe(changes);
  yield* snapshotPages(replica, [...replica.table.flowsOf(asked.value)]);
  for (;;) {
    const { flows, sequence } = await changes.next(context.signal);
    const positions = [{ shard: replica.shard, sequence }];
    for (const page of pagesOf(flows))
      yield {
        content: { $case: "changes", value: { flows: page.map(flowToProto), positions } },
        snapshotComplete: false,
      };
  }
}

function* snapshotPages(replica: ShardReplica, flows: readonly Flow[]): Generator<FlowWatchPage> {
  const positions = [{ shard: replica.shard, sequence: replica.table.sequence }];
  const pages = flows.length === 0 ? [[]] : [...pagesOf(flows)];
  for (const [index, page] of pages.entries())
    yield {
      content: { $case: "snapshot", value: { flows: page.map(flowToProto), positions } },
      snapshotComplete: index === pages.length - 1,
    };
}

class UnreadChanges implements FlowFeed {
  readonly #wanted: (flow: Flow) => boolean;
  #flows: Flow[] = [];
  #sequence = 0n;
  #refusal: Refusal | undefined;
  #wake: (() => void) | undefined;

  constructor(wanted: (flow: Flow) => boolean) {
    this.#wanted = wanted;
  }

  changed(flows: readonly Flow[], sequence: bigint): void {
    if (this.#refusal !== undefined) return;
    const before = this.#flows.length;
    for (const flow of flows) if (this.#wanted(flow)) this.#flows.push(flow);
    this.#sequence = sequence;
    if (this.#flows.length > unreadChangesMax)
      this.#refuse({
        code: "LIMIT_EXCEEDED",
        message: `more than ${unreadChangesMax} changes were not read; watch again`,
      });
    if (this.#flows.length > before) this.#wake?.();
  }

  reset(): void {
    this.#refuse({ code: "STORE_UNAVAILABLE", message: "the shard is built anew; watch again" });
  }

  async next(signal: AbortSignal): Promise<{ readonly flows: readonly Flow[]; readonly sequence: bigint }> {
    while (this.#flows.length === 0 && this.#refusal === undefined) {
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
    return { flows, sequence: this.#sequence };
  }

  #refuse(error: ConstructorParameters<typeof Refusal>[0]): void {
    this.#refusal = new Refusal(error);
    this.#flows = [];
    this.#wake?.();
  }
}
