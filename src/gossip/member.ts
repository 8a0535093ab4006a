/** What is known of a member, and what is told of it to whoever uses the cluster. */

/** 1 to {@link nameBytesMax} characters of `A-Z a-z 0-9 . _ -`; unique in a cluster. */
export type MemberName = string;

/** `10.0.0.1:7946` or `[fd00::1]:7946`: where a member's UDP and TCP ports are. */
export type MemberAddress = string;

export const nameBytesMax = 64;
export const metadataBytesMax = 512;
export const loadLevels = 8;

/** Incarnations are counted by the member itself and nobody else; no member lives to count this far. */
export const incarnationMax = 0xffff_fffe;

/** `left`: it said so itself, and nobody grieves. `dead`: others concluded it. */
export const memberStates = ["alive", "suspect", "dead", "left"] as const;
export type MemberState = (typeof memberStates)[number];

export interface ProtocolVersions {
  readonly min: number;
  readonly max: number;
  /** What the member speaks at present. */
  readonly current: number;
}

/** What a member says of itself. Never changed: a new incarnation brings a new profile. */
export interface MemberProfile {
  readonly name: MemberName;
  readonly address: MemberAddress;
  /** Roles and service addresses, encoded by metadata.ts; opaque to the protocol. */
  readonly metadata: Uint8Array;
  readonly versions: ProtocolVersions;
}

export interface Member {
  readonly profile: MemberProfile;
  readonly incarnation: number;
  readonly state: MemberState;
  /** When the state changed, by the clock of who tells of it. */
  readonly changedAtMs: number;
  /** 0 (idle) to 7. */
  readonly load: number;
}

export type MemberEvent =
  /** New, or back from `dead` or `left`. */
  | { readonly kind: "joined"; readonly member: Member }
  /** Its address, metadata or versions are others than before. */
  | { readonly kind: "updated"; readonly member: Member }
  | { readonly kind: "load"; readonly member: Member }
  | { readonly kind: "suspect"; readonly member: Member }
  /** Was suspect, and has shown that it lives. */
  | { readonly kind: "refuted"; readonly member: Member }
  | { readonly kind: "dead"; readonly member: Member }
  | { readonly kind: "left"; readonly member: Member }
  /** Somebody else claims the name of a member that lives, or ours. */
  | { readonly kind: "conflict"; readonly member: Member; readonly claimant: MemberAddress };

const namePattern = /^[A-Za-z0-9._-]{1,64}$/;

export function isMemberName(text: string): boolean {
  return namePattern.test(text);
}
