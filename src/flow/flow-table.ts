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
import { KeyDigest, SlotDigests } from "./key-digest.ts";
import type { FlowChange } from "./observe.ts";
import { PartedMap } from "./parted-map.ts";
import { Reconciliation } from "./reconciliation.ts";

/** Flows of all addresses together; some 320 MB. */
export const maxFlows = 2_000_000;

export type Applied =
  | { readonly kind: "event"; readonly flow: Flow }
  /** The table says so already. */
  | { readonly kind: "unchanged" }
  /** A new flow that found no room: it is not tracked. The table needs a reconciliation once there is room again. */
  | { readonly kind: "full" };

interface Entry {
  state: LiveFlowState;
  openedAtMs: number;
  generation: bigint;
}

interface FlowsOfAddress {
  readonly entries: PartedMap<Entry>;
  readonly digests: SlotDigests;
}

const unchanged: Applied = { kind: "unchanged" };
const full: Applied = { kind: "full" };

export class FlowTable {
  readonly #owner: string;
  readonly #capacity: number;
  readonly #addresses = new Map<IpAddress, FlowsOfAddress>();
  readonly #reconciling = new Map<IpAddress, Reconciliation>();
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
    return this.#addresses.get(address)?.entries.size ?? 0;
  }

  /** Of the address's flows in the slots that are wanted. */
  digestOf(address: IpAddress, isWanted: (slot: number) => boolean = () => true): KeyDigest {
    return this.#addresses.get(address)?.digests.sum(isWanted) ?? new KeyDigest();
  }

  apply(change: FlowChange, nowMs: number): Applied {
    const { address } = change.key;
    const id = idOf(change.key);
    if (this.#reconciling.size > 0) this.#reconciling.get(address)?.changed(id);
    const entry = this.#addresses.get(address)?.entries.get(id);
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

  /**
   * The address's flows. The table may change meanwhile: a flow that lives from the first step to the last is met once,
   * others perhaps. They can be read again and again.
   */
  flowsOf(address: IpAddress): Iterable<Flow> {
    return { [Symbol.iterator]: () => this.#read(address) };
  }

  /**
   * Makes the table equal to a listing of the address's flows that is taken from now on. Until the reconciliation is
   * disposed of, changes may be applied; a flow that one of them speaks of is left as they say, for they are as new as the
   * listing. Changes from before it that are still on their way do no harm, for they end in what the listing shows.
   * One at a time for an address; a second one takes the place of the first.
   */
  reconcile(address: IpAddress): Reconciliation {
    const reconciliation = new Reconciliation(address, {
      idOf,
      ids: () => this.#addresses.get(address)?.entries.keys() ?? [],
      close: (id, nowMs) => this.apply(closing(keyOf(address, id)), nowMs),
      apply: (change, nowMs) => this.apply(change, nowMs),
      finished: () => {
        if (this.#reconciling.get(address) === reconciliation) this.#reconciling.delete(address);
      },
    });
    this.#reconciling.set(address, reconciliation);
    return reconciliation;
  }

  *#read(address: IpAddress): Generator<Flow> {
    for (const [id, entry] of this.#addresses.get(address)?.entries ?? [])
      yield this.#flow(keyOf(address, id), entry, entry.state);
  }

  #open(key: FlowKey, id: string, state: LiveFlowState, generation: bigint, nowMs: number): Applied {
    if (this.#size >= this.#capacity) return full;
    const entry = { state, openedAtMs: nowMs, generation };
    let flows = this.#addresses.get(key.address);
    if (flows === undefined) {
      flows = { entries: new PartedMap(), digests: new SlotDigests() };
      this.#addresses.set(key.address, flows);
    }
    flows.entries.set(id, entry);
    flows.digests.add(key);
    this.#size++;
    return { kind: "event", flow: this.#flow(key, entry, state) };
  }

  #close(key: FlowKey, id: string, entry: Entry): Applied {
    const flows = this.#addresses.get(key.address);
    if (flows?.entries.delete(id) === true) {
      this.#size--;
      flows.digests.remove(key);
    }
    if (flows?.entries.size === 0) this.#addresses.delete(key.address);
    return { kind: "event", flow: this.#flow(key, entry, "closed") };
  }

  #flow(key: FlowKey, entry: Entry, state: FlowState): Flow {
    return { key, owner: this.#owner, state, openedAtMs: entry.openedAtMs, generation: entry.generation };
  }
}

/** The generation of an end is that of the flow, which the table knows. */
function closing(key: FlowKey): FlowChange {
  return { key, state: "closed", generation: 0n, forgotten: false };
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
