/** Follows the flows of an address through breaks, crashes and moves of the trackers that tell of them. */
import { shardOf } from "../placement/shard.ts";
import { sleep } from "../runtime/retry.ts";
import { serverStream } from "./client.ts";
import { fromServiceError } from "./errors.ts";
import {
  positionsToProto,
  readFlow,
  readWatchPositions,
  type WatchPosition,
  watchPositionsToProto,
} from "./flow-codec.ts";
import type { TrackerDirectory } from "./tracker-directory.ts";
import type { WatchEvent, WatchQuery } from "./tracker-queries.ts";

/** Before a watch that broke is begun again; doubled by chance, so that many watchers don't return together. */
const resumeWaitMs = 250;

export class WatchClient {
  readonly #directory: TrackerDirectory;

  constructor(directory: TrackerDirectory) {
    this.#directory = directory;
  }

  /**
   * All flows that match, then every change to them, until the signal aborts. Resumes by itself where it was; where the
   * tracker can't tell what has changed since, with a new snapshot, of which the first part says that it begins.
   */
  async *watch(query: WatchQuery, signal: AbortSignal): AsyncGenerator<WatchEvent, void, undefined> {
    let seen: readonly WatchPosition[] = [];
    for (;;) {
      try {
        for await (const { event, positions } of this.#watchOnce(query, seen, signal)) {
          if (event.flows.length > 0 || event.kind === "snapshot") yield event;
          // Half a snapshot is no state to go on from.
          seen = event.kind === "snapshot" && !event.complete ? [] : positions;
        }
      } catch (error) {
        signal.throwIfAborted();
        // The stream may have gone back behind what was seen; what the caller asked for still holds.
        if (fromServiceError(error).code === "TRACKER_BEHIND") seen = [];
      }
      await sleep(resumeWaitMs * (1 + Math.random()), signal);
    }
  }

  async *#watchOnce(
    query: WatchQuery,
    seen: readonly WatchPosition[],
    signal: AbortSignal,
  ): AsyncGenerator<{ event: WatchEvent; positions: readonly WatchPosition[] }, void, undefined> {
    const bounds = { signal, endMs: Number.POSITIVE_INFINITY };
    const shard = shardOf(query.address, await this.#directory.shards(bounds));
    const request = {
      address: query.address,
      owner: query.owner ?? "",
      after: watchPositionsToProto(seen),
      atLeast: positionsToProto(query.atLeast ?? []),
    };
    const pages = this.#directory.stream(shard, bounds, (client, stop) =>
      serverStream(client, "watchFlows", request, { signal: stop }),
    );
    let first = true;
    for await (const { content, snapshotComplete } of pages) {
      if (content === undefined) continue;
      const flows = content.value.flows.map((flow) => readFlow("flow", flow));
      const positions = readWatchPositions("positions", content.value.positions);
      if (content.$case === "changes") yield { event: { kind: "changes", flows, positions }, positions };
      else yield { event: { kind: "snapshot", flows, first, complete: snapshotComplete, positions }, positions };
      first = false;
    }
  }
}
