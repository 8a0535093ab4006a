/** What changes from one assignment to the next, and why. */

export type MoveReason =
  /** There was no assignment. */
  | { readonly kind: "first" }
  /** The copy's holder is dead or has left. */
  | { readonly kind: "member-left"; readonly member: string }
  /** The copy's holder is to stop, and gives away what it has. */
  | { readonly kind: "member-draining"; readonly member: string }
  /** The standby takes the primary's place; what the primary's holder does next has a reason of its own. */
  | { readonly kind: "promoted"; readonly insteadOf: string }
  | { readonly kind: "standby-missing" }
  /** An operator wants the primary there. */
  | { readonly kind: "pinned" }
  /** The member that gets the copy has fewer than its part, as one that has just joined. */
  | { readonly kind: "filling"; readonly copies: number; readonly least: number }
  /** The member that gives the copy has more than its part allows. */
  | { readonly kind: "over-bound"; readonly copies: number; readonly most: number }
  /** Loads in eighths, smoothed: of the member that gives the copy, and the mean of the others. */
  | { readonly kind: "over-loaded"; readonly level: number; readonly mean: number }
  /** Both copies would fail together. */
  | { readonly kind: "zone-shared"; readonly zone: string }
  /** A member serves more primaries than its part allows, or fewer. */
  | { readonly kind: "primaries-uneven"; readonly from: number; readonly to: number }
  | { readonly kind: "endpoint-changed" };

export interface Move {
  readonly shard: number;
  /** "primary" with both ends present: they change places, or the old one is gone. */
  readonly role: "primary" | "standby";
  readonly from?: string;
  /** Absent: nobody for now. */
  readonly to?: string;
  readonly reason: MoveReason;
}

export function moveText({ shard, role, from, to, reason }: Move): string {
  return `shard ${shard}: ${role} ${from ?? "nobody"} → ${to ?? "nobody"}: ${reasonText(reason)}`;
}

function reasonText(reason: MoveReason): string {
  switch (reason.kind) {
    case "first":
      return "the first assignment";
    case "member-left":
      return `${reason.member} is gone`;
    case "member-draining":
      return `${reason.member} is to stop`;
    case "promoted":
      return `promoted instead of ${reason.insteadOf}`;
    case "standby-missing":
      return "there was one copy only";
    case "pinned":
      return "an operator wants it there";
    case "filling":
      return `it has ${reason.copies} copies, and ${reason.least} are the least`;
    case "over-bound":
      return `it has ${reason.copies} copies, and ${reason.most} are the most`;
    case "over-loaded":
      return `its load is ${reason.level.toFixed(1)} eighths, the others' ${reason.mean.toFixed(1)}`;
    case "zone-shared":
      return `both copies were in zone ${reason.zone}`;
    case "primaries-uneven":
      return `one serves ${reason.from} primaries, the other ${reason.to}`;
    case "endpoint-changed":
      return "its address is another";
    default:
      return reason satisfies never;
  }
}
