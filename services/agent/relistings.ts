/**
 * Which addresses are to be listed again, and when: the kernel has forgotten connections of theirs, or has shown some that it
 * did not prove.
 *
 * Strays end at once, and then nothing has to be listed. An address is listed again for this at most once a second.
 */
import type { IpAddress } from "../../src/flow/address.ts";
import { type FlowKey, flowKeyText } from "../../src/flow/flow.ts";

/** An address is listed again for forgotten connections at most so often. */
const relistIntervalMs = 1_000;
/** With more, the address is listed whether they end or not. */
const doubtedMax = 10_000;

interface Relisting {
  readonly dueMs: number;
  /** Connections that the kernel has shown without proof. */
  readonly doubted: Set<string>;
  certain: boolean;
}

export class Relistings {
  readonly #at = new Map<IpAddress, Relisting>();

  /** Something has ended, or begun, that no event has told of. */
  certain(address: IpAddress, nowMs: number): void {
    this.#soon(address, nowMs).certain = true;
  }

  /** The kernel has shown this connection without proof. */
  doubt(key: FlowKey, nowMs: number): void {
    const relisting = this.#soon(key.address, nowMs);
    if (relisting.doubted.size < doubtedMax) relisting.doubted.add(flowKeyText(key));
    else relisting.certain = true;
  }

  /** It has shown what becomes of it. */
  settle(key: FlowKey): void {
    this.#at.get(key.address)?.doubted.delete(flowKeyText(key));
  }

  /** Addresses that are to be listed now; they are told once. */
  takeDue(nowMs: number): readonly IpAddress[] {
    const due = [...this.#at].filter(([, { dueMs }]) => dueMs <= nowMs);
    for (const [address] of due) this.#at.delete(address);
    return due.flatMap(([address, { certain, doubted }]) => (certain || doubted.size > 0 ? [address] : []));
  }

  #soon(address: IpAddress, nowMs: number): Relisting {
    const known = this.#at.get(address);
    if (known !== undefined) return known;
    const relisting = { dueMs: nowMs + relistIntervalMs, doubted: new Set<string>(), certain: false };
    this.#at.set(address, relisting);
    return relisting;
  }
}
