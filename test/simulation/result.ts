/** What one run came to: figures, and the invariants that it broke. */

/** Of several crashes; undefined where none came so far. */
export interface Spread {
  /** In ascending order. */
  readonly values: readonly number[];
  readonly median: number;
  readonly max: number;
}

export interface RunResult {
  readonly scenario: string;
  readonly seed: number;
  readonly nodes: number;
  /** False: SWIM as published, to compare with. */
  readonly lifeguard: boolean;
  readonly simulatedMs: number;
  /** Of the processor. */
  readonly elapsedMs: number;
  /** Simulated time in that time. */
  readonly speed: number;
  readonly events: number;
  readonly crashes: number;
  /** From the crash. */
  readonly suspectedMs: Spread | undefined;
  readonly confirmedMs: Spread | undefined;
  /** From the first confirmation to the last running node. */
  readonly disseminatedMs: Spread | undefined;
  /** From the last fault until nobody believed anything wrong any more; undefined: it never came so far. */
  readonly convergedMs: number | undefined;
  /** Deaths of members that no fault touched, at members that no fault touched. */
  readonly falsePositives: number;
  /** Deaths of members whose process had not ended, at members that no fault touched. */
  readonly livingDeclaredDead: number;
  readonly suspicions: number;
  readonly traffic: Traffic;
  readonly violations: readonly string[];
  /** The command that repeats this run. */
  readonly replay: string;
}

/** Sent, per node and second, with 28 bytes of IP and UDP headers for each datagram. */
export interface Traffic {
  readonly datagrams: number;
  readonly datagramBytes: number;
  readonly streamBytes: number;
  readonly bytes: number;
}

export function spread(values: readonly number[]): Spread | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const [median, max] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
  return median === undefined || max === undefined ? undefined : { values: sorted, median, max };
}
