/** The live flows of a shard by address, owner and key, with counts that cost nothing to read. */
import type { IpAddress } from "../flow/address.ts";
import type { FlowState, LiveFlow, LiveFlowState } from "../flow/flow.ts";
import { rowWords, stateAt } from "../flow/flow-words.ts";
import { KeyDigest } from "../flow/key-digest.ts";
import { FlowSlab } from "./flow-slab.ts";
import type { SlabView } from "./slab-view.ts";

export interface FlowQuery {
  readonly address: IpAddress;
  readonly owner?: string;
  readonly peer?: IpAddress;
}

/** An owner's flows at one address. */
export interface OwnedFlows {
  readonly owner: string;
  /** Undefined: others were passed over for a while. */
  readonly flows: Iterable<LiveFlow | undefined>;
  /** No more of them are read. */
  readonly close: () => void;
}

/** Where a flow lies, until the next change. */
export interface Place extends OwnedSlab {
  readonly slot: number;
}

export interface OwnerCount {
  readonly address: IpAddress;
  readonly owner: string;
  /** Open, half-open and closing ones together. */
  readonly flows: number;
  readonly halfOpen: number;
}

/** One owner's flows at an address, until the next change. */
export interface OwnedSlab {
  readonly owner: string;
  readonly slab: FlowSlab;
}

interface OwnerFlows {
  readonly slab: FlowSlab;
  readonly digest: KeyDigest;
  halfOpen: number;
}

export class OwnerIndex {
  readonly #addresses = new Map<IpAddress, Map<string, OwnerFlows>>();
  #size = 0;
  /** Where the last flow went: mostly the next one's place too. */
  #last: { readonly owner: string; readonly address: IpAddress | undefined; flows: OwnerFlows | undefined } = {
    owner: "",
    address: undefined,
    flows: undefined,
  };

  get size(): number {
    return this.#size;
  }

  slab(owner: string, address: IpAddress): FlowSlab | undefined {
    return this.#addresses.get(address)?.get(owner)?.slab;
  }

  *slabs(): Generator<OwnedSlab> {
    for (const owners of this.#addresses.values()) for (const [owner, { slab }] of owners) yield { owner, slab };
  }

  slabsAt(address: IpAddress): OwnedSlab[] {
    return [...(this.#addresses.get(address) ?? [])].map(([owner, { slab }]) => ({ owner, slab }));
  }

  /** Takes a live flow's row. Returns the state that it replaces, if there was the flow. */
  put(owner: string, address: IpAddress, words: Uint32Array, at: number): LiveFlowState | undefined {
    const flows = this.#ownerFlows(address, owner);
    const before = flows.slab.put(words, at);
    if (before === undefined) {
      this.#size++;
      flows.digest.addWords(address, words, at);
    }
    flows.halfOpen += halfOpen(stateAt(words, at)) - halfOpen(before);
    return before;
  }

  /** Takes a row of a flow that is not here, which is not found before {@link index}: for very many at once. */
  fill(owner: string, address: IpAddress, words: Uint32Array, at: number): void {
    const flows = this.#ownerFlows(address, owner);
    flows.slab.fill(words, at);
    flows.digest.addWords(address, words, at);
    flows.halfOpen += halfOpen(stateAt(words, at));
    this.#size++;
  }

  index(): void {
    for (const owners of this.#addresses.values()) for (const { slab } of owners.values()) slab.index();
  }

  delete(owner: string, address: IpAddress, words: Uint32Array, at: number): boolean {
    const owners = this.#addresses.get(address);
    const flows = owners?.get(owner);
    const before = flows?.slab.delete(words, at);
    if (owners === undefined || flows === undefined || before === undefined) return false;
    flows.digest.removeWords(address, words, at);
    flows.halfOpen -= halfOpen(before);
    this.#size--;
    if (flows.slab.size === 0) this.#drop(owner, address, flows);
    return true;
  }

  /**
   * Drops an owner's flows at an address but for those in the slots that are wanted. What is left is packed anew: to delete many
   * thousands one by one would hold the event loop for far longer. Whoever reads the flows as they were goes on to.
   */
  retain(owner: string, address: IpAddress, isWanted: (slot: number) => boolean): void {
    const before = this.#addresses.get(address)?.get(owner);
    if (before === undefined) return;
    const { slab } = before;
    let kept = 0;
    while (kept < slab.size && isWanted(slab.keySlotAt(kept))) kept++;
    if (kept === slab.size) return;
    this.#drop(owner, address, before);
    const words = slab.words(0, slab.size);
    for (let slot = 0; slot < slab.size; slot++)
      if (slot < kept || isWanted(slab.keySlotAt(slot))) this.fill(owner, address, words, slot * rowWords);
    this.slab(owner, address)?.index();
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

  /** Slots of an owner's flows at these addresses; without addresses: at all. Deleting the one just given is fine. */
  *placesOf(owner: string, addresses: Iterable<IpAddress> = this.addressesOf(owner)): Generator<Place> {
    for (const address of addresses) {
      const slab = this.slab(owner, address);
      // From the last: what a deletion moves is one that was given.
      if (slab !== undefined) for (let slot = slab.size - 1; slot >= 0; slot--) yield { owner, slab, slot };
    }
  }

  /** As they are now, whatever changes while they are read; once. */
  matching({ address, owner: wanted, peer }: FlowQuery): OwnedFlows[] {
    return [...(this.#addresses.get(address) ?? [])]
      .filter(([owner]) => wanted === undefined || wanted === owner)
      .map(([owner, flows]) => {
        const view = flows.slab.view(peer);
        return { owner, flows: flowsIn(view, owner), close: () => view.close() };
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

  /** As {@link counts}, of some of an address's flows; each is read for it. */
  countsIn(address: IpAddress, isWanted: (slot: number) => boolean): OwnerCount[] {
    return [...(this.#addresses.get(address) ?? [])].map(([owner, { slab }]) => {
      let [flows, halfOpenOnes] = [0, 0];
      for (let slot = 0; slot < slab.size; slot++) {
        if (!isWanted(slab.keySlotAt(slot))) continue;
        flows++;
        halfOpenOnes += halfOpen(slab.stateAt(slot));
      }
      return { address, owner, flows, halfOpen: halfOpenOnes };
    });
  }

  #drop(owner: string, address: IpAddress, flows: OwnerFlows): void {
    const owners = this.#addresses.get(address);
    owners?.delete(owner);
    if (owners?.size === 0) this.#addresses.delete(address);
    if (this.#last.flows === flows) this.#last.flows = undefined;
    this.#size -= flows.slab.size;
  }

  #ownerFlows(address: IpAddress, owner: string): OwnerFlows {
    const last = this.#last;
    if (last.flows !== undefined && last.owner === owner && last.address === address) return last.flows;
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
    this.#last = { owner, address, flows };
    return flows;
  }
}

function* flowsIn(view: SlabView, owner: string): Generator<LiveFlow | undefined> {
  for (const entry of view) {
    if (entry === undefined) {
      yield undefined;
      continue;
    }
    const { state, openedAtMs, generation } = entry.facts;
    yield { key: entry.key, owner, state, openedAtMs, generation };
  }
}

function halfOpen(state: FlowState | undefined): number {
  return state === "half-open" ? 1 : 0;
}
