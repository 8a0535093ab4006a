/** Fills packets: what must be said, then loads where they ride, then as many rumours as fit. */
import type { LoadLane } from "./load-lane.ts";
import type { MemberAddress } from "./member.ts";
import { messagesPerPacketMax, type PacketMessage, type Rumour } from "./message.ts";
import type { Roster } from "./roster.ts";
import { messageBytes, messageHeadBytes, packetHeadBytes } from "./size.ts";

export class Packets {
  readonly #roster: Roster;
  readonly #loads: LoadLane;

  constructor(roster: Roster, loads: LoadLane) {
    this.#roster = roster;
    this.#loads = loads;
  }

  /** A ping, an ack or the like, and whatever has room beside it. */
  send(to: MemberAddress, ...head: PacketMessage[]): void {
    const { config, rumours, transmitLimit, effects } = this.#roster;
    const messages = head;
    let bytes = head.reduce((sum, message) => sum + messageBytes(message), packetHeadBytes);
    const kind = head.at(-1)?.kind;
    if (kind === "ping" || kind === "ack") {
      const loads = this.#loads.message(config.packetBytes - bytes - messageHeadBytes - 1);
      if (loads !== undefined) {
        messages.push(loads);
        bytes += messageBytes(loads);
      }
    }
    const taken: Rumour[] = [];
    bytes += rumours.take(config.packetBytes - bytes, messagesPerPacketMax - messages.length, transmitLimit, taken);
    for (const rumour of taken) messages.push(rumour);
    effects.push({ kind: "send", to, messages, bytes });
  }

  /** Rumours to a few members by chance, among them those that died not long ago: they may live, and refute. */
  gossip(nowMs: number): void {
    const { config, rumours, table, transmitLimit, effects } = this.#roster;
    this.#roster.forgetBuried(nowMs);
    const hears = (slot: number): boolean => {
      if (table.isLive(slot)) return true;
      return table.state(slot) === "dead" && nowMs - table.changedAtMs(slot) <= config.gossipToTheDeadMs;
    };
    for (const slot of this.#roster.pick(config.gossipNodes, hears)) {
      const messages: PacketMessage[] = [];
      const taken: Rumour[] = [];
      const bytes = rumours.take(config.packetBytes - packetHeadBytes, messagesPerPacketMax, transmitLimit, taken);
      if (taken.length === 0) return;
      for (const rumour of taken) messages.push(rumour);
      effects.push({ kind: "send", to: table.profile(slot).address, messages, bytes: bytes + packetHeadBytes });
    }
  }
}
