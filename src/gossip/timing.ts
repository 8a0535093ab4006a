/** The protocol's formulas, as memberlist documents them. */

const msPerS = 1_000;

/** Above this many members, push/pull becomes rarer. */
const pushPullScaleThreshold = 32;

/** Least time that a suspicion lasts: enough for its rumour to reach a suspect, and for a refutation to come back. */
export function suspicionTimeoutMs(multiplier: number, members: number, probeIntervalMs: number): number {
  return multiplier * Math.max(1, Math.log10(Math.max(1, members))) * probeIntervalMs;
}

/**
 * How long a suspicion still lasts (Lifeguard, "dogpile"): from `maxMs` with no confirmation down to `minMs` with
 * `wanted`, each counting less than the one before. Zero or less: it fires.
 */
export function remainingSuspicionMs(
  confirmations: number,
  wanted: number,
  elapsedMs: number,
  minMs: number,
  maxMs: number,
): number {
  const share = wanted < 1 ? 1 : Math.log(confirmations + 1) / Math.log(wanted + 1);
  const rawS = maxMs / msPerS - share * (maxMs / msPerS - minMs / msPerS);
  return Math.max(Math.floor(rawS * msPerS), minMs) - elapsedMs;
}

/** Confirmations after which a suspicion lasts no longer than its minimum; with few members they could never come. */
export function confirmationsWanted(suspicionMultiplier: number, members: number): number {
  const wanted = suspicionMultiplier - 2;
  return members - 2 < wanted ? 0 : Math.max(0, wanted);
}

/** How often a member sends one rumour. */
export function retransmitLimit(multiplier: number, members: number): number {
  return multiplier * Math.ceil(Math.log10(members + 1));
}

export function pushPullIntervalMs(intervalMs: number, members: number): number {
  if (members <= pushPullScaleThreshold) return intervalMs;
  return (Math.ceil(Math.log2(members) - Math.log2(pushPullScaleThreshold)) + 1) * intervalMs;
}
