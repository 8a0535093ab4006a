/**
 * Packet and connection marks.
 *
 * baton writes only the bits of its mask, so that the host's own use of marks (policy routing, for one) goes on.
 * Of the twelve bits, the upper two say what the packet is, the lower ten name the link, which is never 0; in a connection mark they
 * hold the generation's lowest bits instead, so that marks of an earlier remap are not believed.
 */
import type { LinkId } from "../node/state.ts";

/** Twelve contiguous bits. */
export interface MarkLayout {
  readonly mask: number;
  readonly shift: number;
}

export const defaultMarkMask = 0x0fff0000;

const markBits = 12;
const idBits = 10;
const idMask = (1 << idBits) - 1;

export function markLayout(mask: number): MarkLayout | undefined {
  const shift = 31 - Math.clz32(mask & -mask);
  if (mask === 0 || mask >>> shift !== (1 << markBits) - 1) return undefined;
  return { mask, shift };
}

/** What a packet is on this host. */
export const packetRoles = {
  /** On its way from the holder to the flow's owner. */
  followed: 1,
  /** On its way from the owner through the holder to the client. */
  returned: 2,
  /** At the owner: leaving into the channel. */
  egress: 3,
  /** Sent by the holder itself, to hear whether the owner's kernel answers through the channel. */
  probe: 0,
} as const;

/** What a connection of the owner is, judged when it was opened. */
export const connectionRoles = { old: 1, new: 2 } as const;

export function packetMark(layout: MarkLayout, role: keyof typeof packetRoles, link: LinkId): number {
  return compose(layout, packetRoles[role], link);
}

/** At the owner: came in through a channel, whichever. No link's own mark, so no route is bound to it. */
export function arrivedMark(layout: MarkLayout): number {
  return compose(layout, packetRoles.egress, 0);
}

export function connectionMark(layout: MarkLayout, role: keyof typeof connectionRoles, generation: bigint): number {
  return compose(layout, connectionRoles[role], Number(generation & BigInt(idMask)));
}

export function formatMark(mark: number): string {
  return `0x${(mark >>> 0).toString(16).padStart(8, "0")}`;
}

function compose(layout: MarkLayout, role: number, id: number): number {
  return (((role << idBits) | (id & idMask)) << layout.shift) >>> 0;
}
