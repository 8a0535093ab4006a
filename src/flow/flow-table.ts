/**
 * The agent's own table of the live flows of its public addresses.
 *
 * Invariants: a flow is in the table exactly while its last event said that it lives; an event is given exactly when
 * the table changed; the table never holds more than its capacity.
 *
 * Lean on purpose, for a million flows of one address: a flow is one short string and one small object, about
 * 160 bytes, and {@link Flow} values are made only for events and iteration.
 */
import { type IpAddress, parseIpAddress } from "./address.ts";
import type { Flow, FlowKey, FlowState, LiveFlowState, Protocol } from "./flow.ts";
import type { FlowChange } from "./observe.ts";

/** Flows of all addresses together; some 320 MB. */
export const maxFlows = 2_000_000;

export type Applied =
  | { readonly kind: "event"; readonly flow: Flow }
  /** The table says so already. */
  | { readonly kind: "unchanged" }
  /** A new flow that found no room: it is not tracked. The table needs a reconciliation once there is room again. */
  | { readonly kind: "full" };

export interface Reconciled {
  /** What makes the table equal to the listing, in the order it was done: closes first, so that they make room. */
  readonly events: readonly Flow[];
  /** Flows of the listing that found no room. */
  readonly refused: number;
}

interface Entry {
  state: LiveFlowState;
  openedAtMs: number;
  generation: bigint;
}

type FlowsOfAddress = Map<string, Entry>;

const unchanged: Applied = { kind: "unchanged" };
const full: Applied = { kind: "full" };

export class FlowTable {
  readonly #owner: string;
  readonly #capacity: number;
  readonly #addresses = new Map<IpAddress, FlowsOfAddress>();
  #size = 0;

  constructor(owner: string, capacity: number = maxFlows) {
    this.#owner = owner;
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#size;
  }

  /** Addresses that have flows. */
  addresses(): IpAddress[] {
    return [...this.#addresses.keys()];
  }

  countOf(address: IpAddress): number {
    return this.#addresses.get(address)?.size ?? 0;
  }

  apply(change: FlowChange, nowMs: number): Applied {
    const { address } = change.key;
    const id = idOf(change.key);
    const entry = this.#addresses.get(address)?.get(id);
    if (change.state === "closed") return entry === undefined ? unchanged : this.#close(change.key, id, entry);
    if (entry === undefined) return this.#open(change.key, id, change.state, change.generation, nowMs);
    if (entry.state === change.state) return unchanged;
    // A handshake on the tuple of a flow that had got further is another connection.
    if (change.state === "half-open") {
      entry.openedAtMs = nowMs;
      entry.generation = change.generation;
    }
    entry.state = change.state;
    return { kind: "event", flow: this.#flow(change.key, entry, change.state) };
  }

  /** The address's flows. Whoever changes the table while iterating may or may not meet the changed ones. */
  *flowsOf(address: IpAddress): Generator<Flow> {
    for (const [id, entry] of this.#addresses.get(address) ?? []) {
      yield this.#flow(keyOf(address, id), entry, entry.state);
    }
  }

  /**
   * Makes the table equal to a listing of the address's flows. Changes of other addresses in it are ignored, closed
   * ones mean absence, and of two for the same flow the later one counts.
   *
   * The listing must be newer than every change applied so far: take it and reconcile without applying changes in
   * between. Changes from before it that are still on their way do no harm, for they end in what the listing shows.
   */
  reconcile(address: IpAddress, listing: Iterable<FlowChange>, nowMs: number): Reconciled {
    const live = new Map<string, FlowChange>();
    for (const change of listing) {
      if (change.key.address !== address) continue;
      if (change.state === "closed") live.delete(idOf(change.key));
      else live.set(idOf(change.key), change);
    }
    const events: Flow[] = [];
    let refused = 0;
    const record = (applied: Applied) => {
      if (applied.kind === "event") events.push(applied.flow);
      else if (applied.kind === "full") refused++;
    };
    for (const [id, entry] of this.#addresses.get(address) ?? []) {
      if (!live.has(id)) record(this.#close(keyOf(address, id), id, entry));
    }
    for (const change of live.values()) record(this.apply(change, nowMs));
    return { events, refused };
  }

  #open(key: FlowKey, id: string, state: LiveFlowState, generation: bigint, nowMs: number): Applied {
    if (this.#size >= this.#capacity) return full;
    const entry = { state, openedAtMs: nowMs, generation };
    let flows = this.#addresses.get(key.address);
    if (flows === undefined) {
      flows = new Map();
      this.#addresses.set(key.address, flows);
    }
    flows.set(id, entry);
    this.#size++;
    return { kind: "event", flow: this.#flow(key, entry, state) };
  }

  #close(key: FlowKey, id: string, entry: Entry): Applied {
    const flows = this.#addresses.get(key.address);
    if (flows?.delete(id) === true) this.#size--;
    if (flows?.size === 0) this.#addresses.delete(key.address);
    return { kind: "event", flow: this.#flow(key, entry, "closed") };
  }

  #flow(key: FlowKey, entry: Entry, state: FlowState): Flow {
    return { key, owner: this.#owner, state, openedAtMs: entry.openedAtMs, generation: entry.generation };
  }
}

/** What tells apart two flows of one address, and can be read back. `join`, for a template's string takes twice the memory. */
function idOf(key: FlowKey): string {
  return [key.protocol, key.port, key.peerPort, key.peer].join(" ");
}

function keyOf(address: IpAddress, id: string): FlowKey {
  const [protocol, port, peerPort, peerText = ""] = id.split(" ");
  const peer = parseIpAddress(peerText);
  if (peer === undefined) throw new Error(`the flow table holds an id that it did not write: ${id}`);
  return { address, protocol: protocol as Protocol, peer, peerPort: Number(peerPort), port: Number(port) };
}
