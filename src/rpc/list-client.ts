/** Lists the flows of an address, shard by shard. */
import type { Flow } from "../flow/flow.ts";
import { serverStream } from "./client.ts";
import { fromServiceError } from "./errors.ts";
import { positionsToProto, readFlow } from "./flow-codec.ts";
import { addressShardToProto } from "./layout-codec.ts";
import { ListedFlows } from "./moving-flows.ts";
import type { AddressShards, Bounds, TrackerDirectory } from "./tracker-directory.ts";
import { type ListQuery, layoutAttemptsMax } from "./tracker-queries.ts";

/** A flow that moves from one shard to another meanwhile is listed once. */
export async function* listFlows(
  directory: TrackerDirectory,
  query: ListQuery,
  bounds: Bounds,
): AsyncGenerator<Flow[], void, undefined> {
  for (let attempt = 1; ; attempt++) {
    const of = await directory.shardsFor(query.address, query.atLeast ?? [], bounds);
    let listed = 0;
    try {
      for await (const flows of listOnce(directory, query, of, bounds)) {
        listed += flows.length;
        yield flows;
      }
      return;
    } catch (error) {
      const mayRepeat = listed === 0 && attempt < layoutAttemptsMax;
      if (!mayRepeat || fromServiceError(error).code !== "LAYOUT_CHANGED") throw error;
    }
  }
}

async function* listOnce(
  directory: TrackerDirectory,
  query: ListQuery,
  of: AddressShards,
  bounds: Bounds,
): AsyncGenerator<Flow[], void, undefined> {
  const listed = new ListedFlows(of.layout, await directory.shards(bounds));
  let left = query.limit ?? Number.POSITIVE_INFINITY;
  // Where flows still are, before where they go to: none is missed on its way.
  for (const shard of of.shards.toReversed()) {
    const request = {
      address: query.address,
      owner: query.owner ?? "",
      peer: query.peer ?? "",
      limit: query.limit ?? 0,
      atLeast: positionsToProto(query.atLeast ?? []),
      of: addressShardToProto({ shard, layout: of.layout }),
    };
    const pages = directory.stream(shard, bounds, (client, signal, deadlineMs) =>
      serverStream(client, "listFlows", request, { signal, deadlineMs }),
    );
    for await (const page of pages) {
      const flows = page.flows
        .map((flow) => readFlow("flow", flow))
        .filter((flow) => listed.isNew(flow, shard))
        .slice(0, left);
      left -= flows.length;
      yield flows;
      if (left === 0) return;
    }
  }
}
