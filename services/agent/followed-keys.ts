/**
 * Which flows of one address the agent has put into the kernel's set of one link.
 *
 * Owns the comparison with a later snapshot. Kept as text, for there may be a million: about 100 bytes each.
 */
import type { IpAddress } from "../../src/flow/address.ts";
import type { FlowKey } from "../../src/flow/flow.ts";

export class FollowedKeys {
  readonly #address: IpAddress;
  readonly #tuples = new Set<string>();
  /** In the set, and not named by the snapshot that is under way. */
  #unnamed = new Set<string>();

  constructor(address: IpAddress) {
    this.#address = address;
  }

  beginSnapshot(): void {
    this.#unnamed = new Set(this.#tuples);
  }

  add(key: FlowKey): void {
    const text = tupleText(key);
    this.#tuples.add(text);
    this.#unnamed.delete(text);
  }

  delete(key: FlowKey): void {
    const text = tupleText(key);
    this.#tuples.delete(text);
    this.#unnamed.delete(text);
  }

  /** What the last snapshot has left out. */
  missing(): FlowKey[] {
    return [...this.#unnamed].map((text) => this.#keyOf(text));
  }

  #keyOf(text: string): FlowKey {
    const [peer, peerPort, port] = text.split(" ");
    return {
      address: this.#address,
      protocol: "tcp",
      peer: peer as IpAddress,
      peerPort: Number(peerPort),
      port: Number(port),
    };
  }
}

/** Names a flow among those of one address. */
export function tupleText({ peer, peerPort, port }: FlowKey): string {
  return `${peer} ${peerPort} ${port}`;
}
