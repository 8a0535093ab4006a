/**
 * One simulated host: a process that runs, is stopped or is down, and the socket buffer in front of it.
 *
 * Owns the machine of the process that runs at present, and what waits while it is stopped.
 */
import type { GossipConfig } from "../../src/gossip/config.ts";
import type { GossipMachine } from "../../src/gossip/machine.ts";
import type { MemberAddress, MemberProfile } from "../../src/gossip/member.ts";
import { Swim } from "../../src/gossip/swim.ts";
import type { Delivery } from "./event.ts";
import type { Random } from "./random.ts";

/** Linux's default receive buffer (212,992 bytes) holds about so many full packets with their bookkeeping. */
const socketBufferDatagrams = 90;
/** Connections that the kernel accepts for a process that doesn't. */
const backlogMax = 128;

export class SimulatedNode {
  readonly index: number;
  readonly profile: MemberProfile;
  readonly random: Random;
  machine: GossipMachine;
  process: "running" | "stopped" | "down" = "down";
  boot = 0;
  /** When the next tick is on the heap. */
  tickDueMs = Number.POSITIVE_INFINITY;
  #waiting: Delivery[] = [];
  #waitingDatagrams = 0;
  #datagramsMax = 0;

  constructor(index: number, config: GossipConfig, random: Random) {
    this.index = index;
    this.random = random;
    this.profile = {
      name: nameOf(index),
      address: addressOf(index),
      metadata: new Uint8Array(metadataBytes).fill(index & 0xff),
      versions: { min: 1, max: 1, current: 1 },
    };
    this.machine = this.#newMachine(config, []);
  }

  boots(config: GossipConfig, seeds: readonly MemberAddress[]): void {
    this.boot++;
    this.process = "running";
    this.tickDueMs = Number.POSITIVE_INFINITY;
    this.machine = this.#newMachine(config, seeds);
    this.drain();
  }

  stops(keepsDatagrams: boolean): void {
    this.process = "stopped";
    this.tickDueMs = Number.POSITIVE_INFINITY;
    this.#datagramsMax = keepsDatagrams ? socketBufferDatagrams : 0;
  }

  ends(): void {
    this.process = "down";
    this.tickDueMs = Number.POSITIVE_INFINITY;
    this.drain();
  }

  /** Of a stopped process. */
  queue(delivery: Delivery): void {
    const isDatagram = delivery.kind === "packet";
    if (isDatagram ? this.#waitingDatagrams >= this.#datagramsMax : this.#waiting.length >= queueMax) return;
    this.#waiting.push(delivery);
    if (isDatagram) this.#waitingDatagrams++;
  }

  drain(): readonly Delivery[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingDatagrams = 0;
    return waiting;
  }

  #newMachine(config: GossipConfig, seeds: readonly MemberAddress[]): GossipMachine {
    return new Swim({ config, self: this.profile, random: this.random.next, seeds });
  }
}

const queueMax = socketBufferDatagrams + backlogMax;

/** Roles and service addresses of a tracker, about. */
const metadataBytes = 80;
const port = 7946;

export function nameOf(index: number): string {
  return `node-${index}`;
}

export function addressOf(index: number): MemberAddress {
  return `10.${index >> 16}.${(index >> 8) & 0xff}.${index & 0xff}:${port}`;
}
