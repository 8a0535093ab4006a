/** Who may hold shards, as gossip tells it: the port that placement reads members from, and what it makes of one. */

/**
 * `ready`: takes shards. `closed`: keeps what it has, and takes no more. `draining`: gives everything away, because its
 * host is to stop.
 */
export const hostingReadiness = ["ready", "closed", "draining"] as const;
export type HostingReadiness = (typeof hostingReadiness)[number];

/** What a later version says that this one has no word for: whatever it means, it loses nothing, and is given nothing. */
export const unknownReadiness: HostingReadiness = "closed";

export function readinessOf(word: string): HostingReadiness {
  return hostingReadiness.find((known) => known === word) ?? unknownReadiness;
}

export interface Candidate {
  readonly name: string;
  /** host:port or unix:PATH */
  readonly endpoint: string;
  /** `left`: it holds shards, and said that it goes; it may be back soon. Who is dead is no candidate. */
  readonly state: "alive" | "suspect" | "left";
  /** 0 to 1; gossip knows it to an eighth. */
  readonly load: number;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** What fails together. Absent: nothing is known to. */
  readonly zone?: string;
  readonly hosting: HostingReadiness;
  /** The tracker runs beside an agent, on a machine that has other work. */
  readonly besideAgent?: boolean;
  /** Shards whose copy there lacks nothing that is known of. Absent: it is not known which. */
  readonly caughtUp?: readonly number[];
}

export interface Candidates {
  now(): readonly Candidate[];
  onChange(listener: () => void): Disposable;
}

/** A gigabyte of flows keeps about one processor busy; whichever of both a machine has less of bounds it. */
const memoryPerCpuBytes = 2 * 1024 ** 3;
/** Machines that differ more than this are treated as if they did not: what they say of themselves may be wrong. */
const sizeMin = 0.5;
const sizeMax = 16;
/** Of a machine whose owner wants it for something else. */
const sharedHostPart = 0.5;

/** How much a candidate can carry, beside others: 1 is one processor with its memory. */
export function sizeOf({ cpus, memoryBytes, besideAgent }: Candidate): number {
  const told = Math.min(cpus, memoryBytes / memoryPerCpuBytes);
  const size = Number.isFinite(told) ? Math.min(sizeMax, Math.max(sizeMin, told)) : 1;
  return besideAgent === true ? size * sharedHostPart : size;
}

/** Gives new shards to it. */
export function takesShards({ state, hosting }: Candidate): boolean {
  return state === "alive" && hosting === "ready";
}

export function sharesZone(one: Candidate, other: Candidate): boolean {
  return one.zone !== undefined && one.zone === other.zone;
}
