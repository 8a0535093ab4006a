/** Who has told anything of a shard, whose messages are missing, and whose flows pass whom by what forwarders have said. */
import type { IpAddress } from "../flow/address.ts";
import type { Forward } from "../flow/events.ts";
import { Forwarders } from "./forwarders.ts";
import { newSender, type Sender } from "./sender.ts";

export class Senders {
  readonly #senders = new Map<string, Sender>();
  readonly #broken = new Set<string>();
  readonly #forwarders = new Forwarders();

  /** Made where there is none. */
  of(instance: string): Sender {
    let sender = this.#senders.get(instance);
    if (sender === undefined) {
      sender = newSender(instance);
      this.#senders.set(instance, sender);
    }
    return sender;
  }

  known(instance: string): Sender | undefined {
    return this.#senders.get(instance);
  }

  all(): Iterable<Sender> {
    return this.#senders.values();
  }

  /** Their messages are missing. */
  broken(): ReadonlySet<string> {
    return this.#broken;
  }

  mark(sender: Sender, broken: boolean): void {
    sender.broken = broken;
    if (broken) this.#broken.add(sender.instance);
    else this.#broken.delete(sender.instance);
  }

  /** All that it forwards. */
  setForwards(sender: Sender, forwards: readonly Forward[]): void {
    sender.forwards = forwards;
    this.#forwarders.set(sender.instance, forwards);
  }

  /** Of each owner who has some, whom its flows at this address pass. Undefined: nobody's pass anybody. */
  viasAt(address: IpAddress): ReadonlyMap<string, string> | undefined {
    return this.#forwarders.at(address);
  }

  via(address: IpAddress, owner: string): string | undefined {
    return this.#forwarders.via(address, owner);
  }

  restore(sender: Sender): void {
    this.#senders.set(sender.instance, sender);
    if (sender.broken) this.#broken.add(sender.instance);
    this.#forwarders.set(sender.instance, sender.forwards ?? []);
  }
}
