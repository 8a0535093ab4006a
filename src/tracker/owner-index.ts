/** The live flows of a shard by address, owner and key, with counts that cost nothing to read. */
import type { IpAddress } from "../flow/address.ts";
import { type Flow, type FlowKey, flowKeyText } from "../flow/flow.ts";
import { KeyDigest } from "../flow/key-digest.ts";

export interface FlowRecord {
  /** Never closed. */
  readonly flow: Flow;
  /** Stream sequence of the message that told of it last. */
  readonly changedAt: bigint;
}

export interface FlowQuery {
  readonly address: IpAddress;
  readonly owner?: string;
  readonly peer?: IpAddress;
}

export interface OwnerCount {
  readonly address: IpAddress;
  readonly owner: string;
  /** Open, half-open and closing ones together. */
  readonly flows: number;
  readonly halfOpen: number;
}

interface OwnerFlows {
  readonly records: Map<string, FlowRecord>;
  readonly digest: KeyDigest;
  halfOpen: number;
}

export class OwnerIndex {
  readonly #addresses = new Map<IpAddress, Map<string, OwnerFlows>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(owner: string, key: FlowKey): FlowRecord | undefined {
    return this.#addresses.get(key.address)?.get(owner)?.records.get(flowKeyText(key));
  }

  /**
   * Two owners may claim one key: an old flow that died in silence, and a new one of the same peer and port at the
   * address's new owner. The younger generation is the one that lives, then what was told of last.
   */
  find(key: FlowKey): FlowRecord | undefined {
    const text = flowKeyText(key);
    let best: FlowRecord | undefined;
    for (const { records } of this.#addresses.get(key.address)?.values() ?? []) {
      const found = records.get(text);
      if (found !== undefined && (best === undefined || isYounger(found, best))) best = found;
    }
    return best;
  }

  put(record: FlowRecord): void {
    const { owner, key, state } = record.flow;
    const flows = this.#ownerFlows(key.address, owner);
    const text = flowKeyText(key);
    const before = flows.records.get(text);
    if (before === undefined) {
      this.#size++;
      flows.digest.add(key);
    }
    flows.halfOpen += halfOpen(state) - halfOpen(before?.flow.state);
    flows.records.set(text, record);
  }

  delete(owner: string, key: FlowKey): boolean {
    const owners = this.#addresses.get(key.address);
    const flows = owners?.get(owner);
    const text = flowKeyText(key);
    const record = flows?.records.get(text);
    if (owners === undefined || flows === undefined || record === undefined) return false;
    flows.records.delete(text);
    flows.digest.remove(key);
    flows.halfOpen -= halfOpen(record.flow.state);
    this.#size--;
    if (flows.records.size === 0) owners.delete(owner);
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
    for (const address of addresses) yield* this.#addresses.get(address)?.get(owner)?.records.values() ?? [];
  }

  *matching(query: FlowQuery): Generator<Flow> {
    for (const [owner, { records }] of this.#addresses.get(query.address) ?? []) {
      if (query.owner !== undefined && query.owner !== owner) continue;
      for (const { flow } of records.values()) if (query.peer === undefined || query.peer === flow.key.peer) yield flow;
    }
  }

  counts(address?: IpAddress): OwnerCount[] {
    const addresses = address === undefined ? [...this.#addresses.keys()] : [address];
    return addresses.flatMap((it) =>
      [...(this.#addresses.get(it) ?? [])].map(([owner, flows]) => {
        return { address: it, owner, flows: flows.records.size, halfOpen: flows.halfOpen };
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
      flows = { records: new Map(), digest: new KeyDigest(), halfOpen: 0 };
      owners.set(owner, flows);
    }
    return flows;
  }
}

function isYounger(one: FlowRecord, other: FlowRecord): boolean {
  if (one.flow.generation !== other.flow.generation) return one.flow.generation > other.flow.generation;
  return one.changedAt > other.changedAt;
}

function halfOpen(state: Flow["state"] | undefined): number {
  return state === "half-open" ? 1 : 0;
}
