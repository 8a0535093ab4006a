/**
 * What an instance tells of its flows, as the messages of each shard, in order and numbered.
 *
 * Owns the dense sequence per shard of one boot. Invariants: messages of a shard are taken in the order in which their
 * causes came; a change that was dropped leaves a hole in the sequence, so that trackers notice; a barrier or snapshot
 * is taken only if nothing before it was dropped.
 */
import type { AddressPlace } from "../placement/layout.ts";
import type { Layouts } from "../placement/layouts.ts";
import type { IpAddress } from "./address.ts";
import type { Coalesced, FlowEvent, FlowEventBatch, FlowRow, Forward } from "./events.ts";
import { flowKeyText } from "./flow.ts";
import type { Digest } from "./key-digest.ts";

export interface SequencerOptions {
  readonly instance: string;
  readonly boot: string;
  readonly layouts: Layouts;
  /** Rows of a message. */
  readonly rowsMax: number;
  /** Rows of a snapshot's page, which are read at once; `rowsMax` by default. */
  readonly pageRowsMax?: number;
  /** Changes not yet taken, of all shards together. */
  readonly bufferedMax: number;
  /** False: a flow that opens and closes within one window is told of like any other, not only counted. */
  readonly coalesce?: boolean;
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

/** Barriers of a shard that wait to be taken, and changes of layouts. */
export const barriersMax = 256;
/** Snapshots of a shard that wait to be taken. */
export const snapshotsMax = 4;
/** Rows that are read for a page which passes over most of them, as multiple of those that it has room for: milliseconds. */
export const readPerRowMax = 16;

type Draft =
  | { readonly kind: "event"; readonly event: FlowEvent; readonly ticket?: Ticket }
  | Pages
  | { readonly kind: "end"; readonly pages: Pages; readonly ticket?: Ticket };

interface Pages {
  readonly kind: "pages";
  readonly snapshot: bigint;
  readonly rows: Iterator<FlowRow>;
  readonly isWanted: (row: FlowRow) => boolean;
  /** Taken so far. */
  flows: number;
}

interface Shard {
  sequence: bigint;
  /** Changes were dropped, and no snapshot has made up for them. */
  lost: boolean;
  rows: (FlowRow | undefined)[];
  /** Key → its latest row, and whether the flow was not there before this window. */
  latest: Map<string, { readonly index: number; readonly opens: boolean }>;
  /** Rows of the window before this one may be known from a snapshot's page: their ends have to be told. */
  pagedRows: number;
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

  change(index: number, change: FlowChange): ChangeOutcome {
    const shard = this.#shard(index);
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

  /**
   * `addresses`: whose flows `rows` are, all of them; empty: all flows of the shard. Of flows that belong to other shards
   * nothing is said. Rows are read page by page as the messages are taken, and may be of a table that changes meanwhile:
   * every flow that is there from now on must be met, and every change be told by {@link change}. A snapshot of the whole shard
   * also repeats what the shard was released from, for that may have been lost with all else.
   */
  snapshot(index: number, addresses: readonly IpAddress[], flows: Iterable<FlowRow>): Ordered {
    const shard = this.#shard(index);
    // Of this moment: by a later layout, flows would be left out that this snapshot then says have ended.
    const members = this.#options.layouts.membersOf(index, addresses);
    const isNone = addresses.length > 0 && members.places.every(({ bucket }) => bucket === undefined);
    const rows = isNone ? [] : flows;
    const released = addresses.length > 0 ? [] : this.#options.layouts.releasedIn(index);
    if (addresses.length === 0) shard.lost = false;
    return this.#order(shard, "end", snapshotsMax, (ticket) => {
      this.#lastSnapshot += 1n;
      const snapshot = this.#lastSnapshot;
      const isWanted = ({ key }: FlowRow): boolean => members.has(key);
      const pages: Pages = { kind: "pages", snapshot, rows: rows[Symbol.iterator](), isWanted, flows: 0 };
      const begin: Draft = {
        kind: "event",
        event: { kind: "snapshot-begin", snapshot, addresses, places: members.places },
      };
      if (released.length === 0) return [begin, pages, { kind: "end", pages, ticket }];
      const event: FlowEvent = { kind: "places", places: released, released: true };
      return [begin, pages, { kind: "end", pages }, { kind: "event", event, ticket }];
    });
  }

  barrier(index: number, id: string): Ordered {
    const shard = this.#shard(index);
    return this.#order(shard, "barrier", barriersMax, (ticket) => [
      { kind: "event", event: { kind: "barrier", id }, ticket },
    ]);
  }

  /**
   * Which flows belong to the shard by a layout that is taken once this is stored. `released`: by one whose shards have been told
   * of all that belongs to them.
   */
  places(index: number, places: readonly AddressPlace[], released: boolean): Ordered {
    const shard = this.#shard(index);
    return this.#order(shard, "places", barriersMax, (ticket) => [
      { kind: "event", event: { kind: "places", places, released }, ticket },
    ]);
  }

  /** Whose flows this instance forwards in the shard, all of them. Lost like a change when changes are. */
  forwards(index: number, forwards: readonly Forward[]): void {
    this.#say(index, { kind: "forwarding", forwards });
  }

  /** Something to say where nothing else is. */
  tick(index: number): void {
    const shard = this.#shard(index);
    if (shard.drafts.length === 0 && !hasWindow(shard)) this.#say(index, { kind: "tick" });
  }

  /**
   * Of all flows of the shard, as of every change so far. Left out while a snapshot is on its way: its pages may be younger
   * than the digest, and it mends what the digest would find; likewise while flows move between shards.
   */
  digest(index: number, { flows, keyXor }: Digest): void {
    const paging = this.#shard(index).drafts.some(({ kind }) => kind === "pages");
    if (!paging && !this.#options.layouts.isMoving(index)) this.#say(index, { kind: "digest", flows, keyXor });
  }

  /** The next message of the shard, numbered. It must be stored before the next one is sent. */
  take(index: number): Taken | undefined {
    const shard = this.#shard(index);
    const draft = shard.drafts[0];
    switch (draft?.kind) {
      case undefined:
        return undefined;
      case "pages":
        return this.#takePage(index, shard, draft) ?? this.take(index);
      case "end": {
        shard.drafts.shift();
        const { snapshot, flows } = draft.pages;
        return this.#taken(index, shard, { kind: "snapshot-end", snapshot, flows }, draft.ticket);
      }
      case "event": {
        shard.drafts.shift();
        if (draft.event.kind === "changes") this.#buffered -= draft.event.rows.length;
        return this.#taken(index, shard, draft.event, draft.ticket);
      }
      default:
        return draft satisfies never;
    }
  }

  /** Tickets whose messages were dropped since this was asked last. */
  takeDropped(): Ticket[] {
    return this.#dropped.splice(0);
  }

  /** Undefined: there are no more rows. A page may be empty, for none of those that were read was wanted. */
  #takePage(index: number, shard: Shard, draft: Pages): Taken | undefined {
    const rows: FlowRow[] = [];
    const { rowsMax, pageRowsMax = rowsMax } = this.#options;
    let isDone = false;
    for (let read = 0; read < readPerRowMax * pageRowsMax && rows.length < pageRowsMax && !isDone; read++) {
      const next = draft.rows.next();
      if (next.done === true) isDone = true;
      else if (draft.isWanted(next.value)) rows.push(next.value);
    }
    if (isDone) shard.drafts.shift();
    if (isDone && rows.length === 0) return undefined;
    draft.flows += rows.length;
    shard.pagedRows = shard.rows.length;
    return this.#taken(index, shard, { kind: "snapshot-page", snapshot: draft.snapshot, rows });
  }

  #say(index: number, event: FlowEvent): void {
    const shard = this.#shard(index);
    if (shard.lost) return;
    this.#seal(shard);
    shard.drafts.push({ kind: "event", event });
  }

  #merge(shard: Shard, change: FlowChange): void {
    const { opens = false, ...row } = change;
    if (this.#options.coalesce === false) {
      this.#buffered++;
      shard.rows.push(row);
      return;
    }
    const text = flowKeyText(row.key);
    const known = shard.latest.get(text);
    const before = known === undefined ? undefined : shard.rows[known.index];
    if (known === undefined || before === undefined || before.state === "closed") {
      this.#buffered++;
      shard.latest.set(text, { index: shard.rows.push(row) - 1, opens });
    } else if (row.state === "closed" && known.opens && known.index >= shard.pagedRows) {
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

  #order(shard: Shard, last: "end" | "barrier" | "places", max: number, drafts: (ticket: Ticket) => Draft[]): Ordered {
    if (shard.lost) return { kind: "snapshot-needed" };
    const kindOf = (draft: Draft) => (draft.kind === "event" ? draft.event.kind : draft.kind);
    if (shard.drafts.filter((draft) => kindOf(draft) === last).length >= max) return { kind: "too-many" };
    this.#seal(shard);
    const ticket = ++this.#lastTicket;
    shard.drafts.push(...drafts(ticket));
    return { kind: "ordered", ticket };
  }

  #lose(shard: Shard): void {
    for (const draft of shard.drafts) {
      if (draft.kind === "pages") continue;
      if (draft.kind === "event" && draft.event.kind === "changes") this.#buffered -= draft.event.rows.length;
      if (draft.ticket !== undefined) this.#dropped.push(draft.ticket);
    }
    this.#buffered -= shard.rows.filter((row) => row !== undefined).length;
    shard.drafts = [];
    clearWindow(shard);
    shard.lost = true;
    shard.sequence += 1n;
  }

  /** Numbers a message. */
  #taken(index: number, shard: Shard, body: FlowEvent, ticket?: Ticket): Taken {
    shard.sequence += 1n;
    const { instance, boot } = this.#options;
    const batch = { instance, boot, shard: index, sequence: shard.sequence, body };
    return ticket === undefined ? { batch } : { batch, ticket };
  }

  #shard(index: number): Shard {
    let shard = this.#shards.get(index);
    if (shard === undefined) {
      shard = {
        sequence: 0n,
        lost: false,
        rows: [],
        latest: new Map(),
        pagedRows: 0,
        coalesced: new Map(),
        drafts: [],
      };
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
  shard.pagedRows = 0;
  shard.coalesced = new Map();
}
