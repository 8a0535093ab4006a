/** Who forwards whose flows, by what the forwarders have said; of two that claim the same, the one that spoke last. */
import type { IpAddress } from "../flow/address.ts";
import type { Forward } from "../flow/events.ts";

export class Forwarders {
  /** Address → owner → forwarder. */
  readonly #addresses = new Map<IpAddress, Map<string, string>>();

  /** Replaces what this instance said before. */
  set(instance: string, forwards: readonly Forward[]): void {
    for (const [address, forwarders] of this.#addresses) {
      for (const [owner, forwarder] of forwarders) if (forwarder === instance) forwarders.delete(owner);
      if (forwarders.size === 0) this.#addresses.delete(address);
    }
    for (const { address, owner } of forwards) {
      const forwarders = this.#addresses.get(address) ?? new Map<string, string>();
      this.#addresses.set(address, forwarders.set(owner, instance));
    }
  }

  /** Of each owner who has some, whom its flows at this address pass. Undefined: nobody's pass anybody. */
  at(address: IpAddress): ReadonlyMap<string, string> | undefined {
    return this.#addresses.get(address);
  }

  via(address: IpAddress, owner: string): string | undefined {
    return this.#addresses.get(address)?.get(owner);
  }
}
