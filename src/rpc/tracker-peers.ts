/** Other trackers, asked over gRPC: what they have of each shard, and a shard's rows. One connection each. */
import { TrackerServiceClient } from "../gen/baton/v1/tracker.ts";
import type { PeerReport, Peers, ShardRow } from "../tracker/peers.ts";
import { dial, serverStream, unary } from "./client.ts";
import { readReport } from "./replica-codec.ts";
import { rowBytesMax, transferRowsMax } from "./tracker-limits.ts";

const reportDeadlineMs = 2_000;
/** For a whole shard; one that takes longer is begun anew, or built from the stream. */
const transferDeadlineMs = 600_000;
/** Connections to trackers that were not asked for so long are closed. */
const idleMs = 60_000;

interface Connection {
  readonly client: TrackerServiceClient;
  calls: number;
  idle: NodeJS.Timeout | undefined;
}

export class TrackerPeers implements Peers, Disposable {
  readonly #connections = new Map<string, Connection>();

  async report(endpoint: string, shards: readonly number[], signal: AbortSignal): Promise<PeerReport | undefined> {
    using connection = this.#connect(endpoint);
    const bounds = { signal, deadlineMs: reportDeadlineMs };
    try {
      return readReport(await unary(connection.client, "listReplicas", { shards: [...shards] }, bounds));
    } catch {
      // Silent, of another version, or talking nonsense: whichever, nothing is learnt from it.
      signal.throwIfAborted();
      return undefined;
    }
  }

  async *rows(
    endpoint: string,
    shard: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly ShardRow[], void, undefined> {
    using connection = this.#connect(endpoint);
    let rows = 0;
    let isComplete = false;
    const bounds = { signal, deadlineMs: transferDeadlineMs };
    for await (const part of serverStream(connection.client, "transferShard", { shard }, bounds)) {
      rows += part.rows.length;
      if (rows > transferRowsMax) throw new Error(`more than ${transferRowsMax} rows came`);
      if (part.rows.some(({ key, value }) => key.length + value.length > rowBytesMax))
        throw new Error(`a row of more than ${rowBytesMax} bytes came`);
      yield part.rows;
      isComplete = part.complete;
    }
    if (!isComplete) throw new Error("the rows ended before the last of them");
  }

  [Symbol.dispose](): void {
    for (const { client, idle } of this.#connections.values()) {
      clearTimeout(idle);
      client.close();
    }
    this.#connections.clear();
  }

  #connect(endpoint: string): Disposable & { readonly client: TrackerServiceClient } {
    const known = this.#connections.get(endpoint);
    const connection = known ?? { client: dial(TrackerServiceClient, endpoint), calls: 0, idle: undefined };
    this.#connections.set(endpoint, connection);
    clearTimeout(connection.idle);
    connection.calls++;
    const close = (): void => {
      if (this.#connections.get(endpoint) === connection) this.#connections.delete(endpoint);
      connection.client.close();
    };
    return {
      client: connection.client,
      [Symbol.dispose]: () => {
        connection.calls--;
        if (connection.calls === 0) connection.idle = setTimeout(close, idleMs).unref();
      },
    };
  }
}
