/**
 * What an instance tells of its flows, as the messages of each shard, in order and numbered.
 *
 * Owns the dense sequence per shard of one boot. Invariants: messages of a shard are taken in the order in which their
 * causes came; a change that was dropped leaves a hole in the sequence, so that trackers notice; a barrier or snapshot
 * is taken only if nothing before it was dropped.
 */
import { shardOf } from "../placement/shard.ts";
import type { IpAddress } from "./address.ts";
import type { Coalesced, FlowEvent, FlowEventBatch, FlowRow } from "./events.ts";
import { flowKeyText } from "./flow.ts";

export interface SequencerOptions {
  readonly instance: string;
  readonly boot: string;
  readonly shards: number;
  /** Rows of a message. */
  readonly rowsMax: number;
  /** Changes not yet taken, of all shards together. */
  readonly bufferedMax: number;
}

export interface FlowChange extends FlowRow {
  /** True: the flow was not there before. If it closes within the same window, it is only counted. */
  readonly opens?: boolean;
}

export type ChangeOutcome =
  | "buffered"
  /** Buffered, and the shard has a full message now. */
  | "full"
  /** Dropped, with all that its shard had waiting. The shard takes no changes until a snapshot of the whole shard. */
  | "overflow";

/** Names a snapshot or barrier from its order until it was taken or dropped. */
export type Ticket = number;

export interface Taken {
  readonly batch: FlowEventBatch;
  /** The ticket that is done when this message is stored. */
  readonly ticket?: Ticket;
}

export type Ordered =
  | { readonly kind: "ordered"; readonly ticket: Ticket }
  /** Changes of this shard were dropped: it needs a snapshot of the whole shard first. */
  | { readonly kind: "snapshot-needed" }
  | { readonly kind: "too-many" };

/** Barriers of a shard that wait to be taken. */
export const barriersMax = 256;
/** Snapshots of a shard that wait to be taken; each holds on to all of its rows. */
export const snapshotsMax = 4;

type Draft =
  | { readonly kind: "event"; readonly event: FlowEvent; readonly ticket?: Ticket }
  | { readonly kind: "pages"; readonly snapshot: bigint; readonly rows: readonly FlowRow[]; next: number };

interface Shard {
  sequence: bigint;
  /** Changes were dropped, and no snapshot has made up for them. */
  lost: boolean;
  rows: (FlowRow | undefined)[];
  /** Key → its latest row, and whether the flow was not there before this window. */
  latest: Map<string, { readonly index: number; readonly opens: boolean }>;
  coalesced: Map<IpAddress, number>;
  drafts: Draft[];
}

export class FlowSequencer {
  readonly #options: SequencerOptions;
  readonly #shards = new Map<number, Shard>();
  #buffered = 0;
  #lastSnapshot = 0n;
  #lastTicket = 0;
  readonly #dropped: Ticket[] = [];

  constructor(options: SequencerOptions) {
    this.#options = options;
  }

  /** Changes not yet taken. */
  get buffered(): number {
    return this.#buffered;
  }

  change(change: FlowChange): ChangeOutcome {
    const shard = this.#shard(shardOf(change.key.address, this.#options.shards));
    if (shard.lost) return "overflow";
    if (this.#buffered >= this.#options.bufferedMax) {
      this.#lose(shard);
      return "overflow";
    }
    this.#merge(shard, change);
    if (shard.rows.length < this.#options.rowsMax) return "buffered";
    this.#seal(shard);
    return "full";
  }

  /** Ends the window of a shard: its changes can be taken now. */
  seal(index: number): void {
    this.#seal(this.#shard(index));
  }

  /** Shards that have anything to be sealed or taken. */
  busyShards(): number[] {
    return [...this.#shards].filter(([, it]) => it.drafts.length > 0 || hasWindow(it)).map(([index]) => index);
  }

  /** Shards whose changes were dropped. */
  lostShards(): number[] {
    return [...this.#shards].filter(([, it]) => it.lost).map(([index]) => index);
  }

  /** `addresses`: whose flows `rows` are, all of them; empty: all flows of the shard. */
  snapshot(index: number, addresses: readonly IpAddress[], rows: readonly FlowRow[]): Ordered {
    const shard = this.#shard(index);
    if (addresses.length === 0) shard.lost = false;
    return this.#order(shard, "snapshot-end", snapshotsMax, (ticket) => {
      this.#lastSnapshot += 1n;
      const snapshot = this.#lastSnapshot;
      return [
        { kind: "event", event: { kind: "snapshot-begin", snapshot, addresses } },
        { kind: "pages", snapshot, rows, next: 0 },
        { kind: "event", event: { kind: "snapshot-end", snapshot, flows: rows.length }, ticket },
      ];
    });
  }

  barrier(index: number, id: string): Ordered {
    const shard = this.#shard(index);
    return this.#order(shard, "barrier", barriersMax, (ticket) => [
      { kind: "event", event: { kind: "barrier", id }, ticket },
    ]);
  }

  /** The next message of the shard, numbered. It must be stored before the next one is sent. */
  take(index: number): Taken | undefined {
    const shard = this.#shard(index);
    const draft = shard.drafts[0];
    if (draft === undefined) return undefined;
    if (draft.kind === "pages") {
      const rows = draft.rows.slice(draft.next, draft.next + this.#options.rowsMax);
      draft.next += rows.length;
      if (draft.next >= draft.rows.length) shard.drafts.shift();
      if (rows.length === 0) return this.take(index);
      return { batch: this.#number(index, shard, { kind: "snapshot-page", snapshot: draft.snapshot, rows }) };
    }
    shard.drafts.shift();
    if (draft.event.kind === "changes") this.#buffered -= draft.event.rows.length;
    const batch = this.#number(index, shard, draft.event);
    return draft.ticket === undefined ? { batch } : { batch, ticket: draft.ticket };
  }

  /** Tickets whose messages were dropped since this was asked last. */
  takeDropped(): Ticket[] {
    return this.#dropped.splice(0);
  }

  #merge(shard: Shard, change: FlowChange): void {
    const { opens = false, ...row } = change;
    const text = flowKeyText(row.key);
    const known = shard.latest.get(text);
    const before = known === undefined ? undefined : shard.rows[known.index];
    if (known === undefined || before === undefined || before.state === "closed") {
      this.#buffered++;
      shard.latest.set(text, { index: shard.rows.push(row) - 1, opens });
    } else if (row.state === "closed" && known.opens) {
      this.#buffered--;
      shard.rows[known.index] = undefined;
      shard.latest.delete(text);
      shard.coalesced.set(row.key.address, (shard.coalesced.get(row.key.address) ?? 0) + 1);
    } else {
      shard.rows[known.index] = row;
    }
  }

  #seal(shard: Shard): void {
    if (!hasWindow(shard)) return;
    const rows = shard.rows.filter((row) => row !== undefined);
    const coalesced = [...shard.coalesced].map(([address, flows]): Coalesced => ({ address, flows }));
    shard.drafts.push({ kind: "event", event: { kind: "changes", rows, coalesced } });
    clearWindow(shard);
  }

  #order(shard: Shard, last: FlowEvent["kind"], max: number, drafts: (ticket: Ticket) => Draft[]): Ordered {
    if (shard.lost) return { kind: "snapshot-needed" };
    const waiting = shard.drafts.filter((draft) => draft.kind === "event" && draft.event.kind === last).length;
    if (waiting >= max) return { kind: "too-many" };
    this.#seal(shard);
    const ticket = ++this.#lastTicket;
    shard.drafts.push(...drafts(ticket));
    return { kind: "ordered", ticket };
  }

  #lose(shard: Shard): void {
    for (const draft of shard.drafts) {
      if (draft.kind !== "event") continue;
      if (draft.event.kind === "changes") this.#buffered -= draft.event.rows.length;
      if (draft.ticket !== undefined) this.#dropped.push(draft.ticket);
    }
    this.#buffered -= shard.rows.filter((row) => row !== undefined).length;
    shard.drafts = [];
    clearWindow(shard);
    shard.lost = true;
    shard.sequence += 1n;
  }

  #number(index: number, shard: Shard, body: FlowEvent): FlowEventBatch {
    shard.sequence += 1n;
    const { instance, boot } = this.#options;
    return { instance, boot, shard: index, sequence: shard.sequence, body };
  }

  #shard(index: number): Shard {
    let shard = this.#shards.get(index);
    if (shard === undefined) {
      shard = { sequence: 0n, lost: false, rows: [], latest: new Map(), coalesced: new Map(), drafts: [] };
      this.#shards.set(index, shard);
    }
    return shard;
  }
}

function hasWindow(shard: Shard): boolean {
  return shard.rows.length > 0 || shard.coalesced.size > 0;
}

function clearWindow(shard: Shard): void {
  shard.rows = [];
  shard.latest = new Map();
  shard.coalesced = new Map();
}
