/** What a shard knows of one sender of messages: which of its boots count, and how far each has come. */
import type { IpAddress } from "../flow/address.ts";
import type { Forward } from "../flow/events.ts";
import type { AddressPlace } from "../placement/layout.ts";

export interface Sender {
  readonly instance: string;
  /** Boots that count, oldest first. */
  boots: { readonly boot: string; sequence: bigint }[];
  /** Boots whose messages are dropped, oldest first. */
  retired: string[];
  /** Messages are missing since the last snapshot of all of its flows. */
  broken: boolean;
  /** The snapshot that is under way. */
  snapshot?: {
    readonly id: bigint;
    readonly boot: string;
    /** Stream sequence of its begin. */
    readonly begunAt: bigint;
    /** What it replaces; none: everything. */
    readonly addresses: readonly IpAddress[];
    /** Which flows of them it speaks of; of addresses that are left out, of all. */
    readonly places: readonly AddressPlace[];
    /** In the pages so far. */
    flows: number;
  };
  /** Whose flows it forwards. */
  forwards?: readonly Forward[];
}

/** More than one counts only from a restart to the new boot's first snapshot. */
const bootsMax = 4;
const retiredMax = 8;

export function newSender(instance: string): Sender {
  return { instance, boots: [], retired: [], broken: false };
}

/** "gap": the message counts, but others before it are missing, and a snapshot under way is void. */
export function trackSequence(sender: Sender, boot: string, sequence: bigint): "apply" | "gap" | "drop" {
  if (sender.retired.includes(boot)) return "drop";
  let known = sender.boots.find((it) => it.boot === boot);
  if (known === undefined) {
    known = { boot, sequence: 0n };
    sender.boots.push(known);
    if (sender.boots.length > bootsMax) retire(sender, sender.boots.splice(0, 1));
  }
  if (sequence <= known.sequence) return "drop";
  const gap = sequence > known.sequence + 1n;
  known.sequence = sequence;
  if (gap) delete sender.snapshot;
  return gap ? "gap" : "apply";
}

/** True: there were others. */
export function retireOtherBoots(sender: Sender, boot: string): boolean {
  const others = sender.boots.filter((it) => it.boot !== boot);
  sender.boots = sender.boots.filter((it) => it.boot === boot);
  retire(sender, others);
  return others.length > 0;
}

export function retireAllBoots(sender: Sender): void {
  retire(sender, sender.boots.splice(0));
  delete sender.snapshot;
}

function retire(sender: Sender, boots: readonly { readonly boot: string }[]): void {
  sender.retired = [...sender.retired, ...boots.map(({ boot }) => boot)].slice(-retiredMax);
}
