/** The live flows of a shard by address, owner and key, with counts that cost nothing to read. */
import type { IpAddress } from "../flow/address.ts";
import type { FlowKey, LiveFlow, LiveFlowState } from "../flow/flow.ts";
import { KeyDigest } from "../flow/key-digest.ts";
import { type FlowFacts, FlowSlab } from "./flow-slab.ts";
import type { SlabView } from "./slab-view.ts";

export interface FlowRecord {
  readonly flow: LiveFlow;
  /** Stream sequence of the message that told of it last. */
  readonly changedAt: bigint;
}

export interface FlowQuery {
  readonly address: IpAddress;
  readonly owner?: string;
  readonly peer?: IpAddress;
}

/** An owner's flows at one address. */
export interface OwnedFlows {
  readonly owner: string;
  readonly flows: Iterable<LiveFlow>;
}

/** Where a flow lies, until the next change. */
export interface Place {
  readonly owner: string;
  readonly slab: FlowSlab;
  readonly slot: number;
}

export interface OwnerCount {
  readonly address: IpAddress;
  readonly owner: string;
  /** Open, half-open and closing ones together. */
  readonly flows: number;
  readonly halfOpen: number;
}

export type OwnersOfAddress = ReadonlyMap<string, OwnerFlows>;

const noOwners: OwnersOfAddress = new Map();

/**
 * Two owners may claim one key: an old flow that died in silence, and a new one of the same peer and port at the
 * address's new owner. The younger generation is the one that lives, then what was told of last.
 */
export function placeOf(owners: OwnersOfAddress, words: Uint32Array, at: number): Place | undefined {
  let best: Place | undefined;
  for (const [owner, { slab }] of owners) {
    const slot = slab.slotOfWords(words, at);
    if (slot === undefined) continue;
    if (best === undefined || isYounger(slab.factsAt(slot), best.slab.factsAt(best.slot))) best = { owner, slab, slot };
  }
  return best;
}

interface OwnerFlows {
  readonly slab: FlowSlab;
  readonly digest: KeyDigest;
  halfOpen: number;
}

export class OwnerIndex {
  readonly #addresses = new Map<IpAddress, Map<string, OwnerFlows>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(owner: string, key: FlowKey): FlowFacts | undefined {
    const slab = this.#addresses.get(key.address)?.get(owner)?.slab;
    const slot = slab?.slotOf(key);
    return slot === undefined ? undefined : slab?.factsAt(slot);
  }

  /** The flows at one address, to look many up; until the next change. */
  at(address: IpAddress): OwnersOfAddress {
    return this.#addresses.get(address) ?? noOwners;
  }

  put(flow: LiveFlow, changedAt: bigint): void {
    const flows = this.#ownerFlows(flow.key.address, flow.owner);
    const before = flows.slab.put(flow, changedAt);
    if (before === undefined) {
      this.#size++;
      flows.digest.add(flow.key);
    }
    flows.halfOpen += halfOpen(flow.state) - halfOpen(before);
  }

  delete(owner: string, key: FlowKey): boolean {
    const owners = this.#addresses.get(key.address);
    const flows = owners?.get(owner);
    const before = flows?.slab.delete(key);
    if (owners === undefined || flows === undefined || before === undefined) return false;
    flows.digest.remove(key);
    flows.halfOpen -= halfOpen(before);
    this.#size--;
    if (flows.slab.size === 0) owners.delete(owner);
    if (owners.size === 0) this.#addresses.delete(key.address);
    return true;
  }

  owners(address: IpAddress): string[] {
    return [...(this.#addresses.get(address)?.keys() ?? [])];
  }

  addressesOf(owner: string): IpAddress[] {
    return [...this.#addresses].filter(([, owners]) => owners.has(owner)).map(([address]) => address);
  }

  digestOf(owner: string): KeyDigest {
    const sum = new KeyDigest();
    for (const owners of this.#addresses.values()) {
      const digest = owners.get(owner)?.digest;
      if (digest !== undefined) sum.merge(digest);
    }
    return sum;
  }

  /** Records of an owner at these addresses; without addresses: at all. Deleting the one just given is fine. */
  *recordsOf(owner: string, addresses: Iterable<IpAddress> = this.addressesOf(owner)): Generator<FlowRecord> {
    for (const address of addresses) {
      const slab = this.#addresses.get(address)?.get(owner)?.slab;
      // From the last: what a deletion moves is one that was given.
      if (slab !== undefined) for (let slot = slab.size - 1; slot >= 0; slot--) yield recordAt(slab, slot, owner);
    }
  }

  /** As they are now, whatever changes while they are read; once. */
  matching({ address, owner: wanted, peer }: FlowQuery): OwnedFlows[] {
    return [...(this.#addresses.get(address) ?? [])]
      .filter(([owner]) => wanted === undefined || wanted === owner)
      .map(([owner, flows]) => {
        return { owner, flows: flowsIn(flows.slab.view(), owner, peer) };
      });
  }

  counts(address?: IpAddress): OwnerCount[] {
    const addresses = address === undefined ? [...this.#addresses.keys()] : [address];
    return addresses.flatMap((it) =>
      [...(this.#addresses.get(it) ?? [])].map(([owner, flows]) => {
        return { address: it, owner, flows: flows.slab.size, halfOpen: flows.halfOpen };
      }),
    );
  }

  #ownerFlows(address: IpAddress, owner: string): OwnerFlows {
    let owners = this.#addresses.get(address);
    if (owners === undefined) {
      owners = new Map();
      this.#addresses.set(address, owners);
    }
    let flows = owners.get(owner);
    if (flows === undefined) {
      flows = { slab: new FlowSlab(address), digest: new KeyDigest(), halfOpen: 0 };
      owners.set(owner, flows);
    }
    return flows;
  }
}

function* flowsIn(view: SlabView, owner: string, peer: IpAddress | undefined): Generator<LiveFlow> {
  for (const { key, facts } of view)
    if (peer === undefined || peer === key.peer) yield recordOf(owner, key, facts).flow;
}

function recordAt(slab: FlowSlab, slot: number, owner: string): FlowRecord {
  return recordOf(owner, slab.keyAt(slot), slab.factsAt(slot));
}

function recordOf(owner: string, key: FlowKey, { state, openedAtMs, generation, changedAt }: FlowFacts): FlowRecord {
  return { flow: { key, owner, state, openedAtMs, generation }, changedAt };
}

function isYounger(one: FlowFacts, other: FlowFacts): boolean {
  if (one.generation !== other.generation) return one.generation > other.generation;
  return one.changedAt > other.changedAt;
}

function halfOpen(state: LiveFlowState | undefined): number {
  return state === "half-open" ? 1 : 0;
}
