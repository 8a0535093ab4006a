/**
 * What papers and memberlist's defaults promise, to print beside what a run shows.
 *
 * SWIM: Das, Gupta, Motivala, "SWIM: scalable weakly-consistent infection-style process group membership protocol"
 * (DSN 2002), sections 3 and 4. Lifeguard: Dadgar, Phillips, Currey, "Lifeguard: local health awareness for more
 * accurate failure detection" (DSN 2018).
 */
export const memberlistLan = {
  probeIntervalMs: 1000,
  probeTimeoutMs: 500,
  indirectChecks: 3,
  gossipIntervalMs: 200,
  gossipNodes: 3,
  retransmitMultiplier: 4,
  suspicionMultiplier: 4,
  suspicionMaxMultiplier: 6,
  pushPullIntervalMs: 30_000,
  datagramBytesMax: 1400,
} as const;

/** A dead member's wait for its first probe, on average, in protocol periods: 1 / (1 - (1 - 1/(n-1))^(n-1)) → e/(e-1). */
export function firstDetectionPeriods(nodes: number): number {
  return 1 / (1 - (1 - 1 / (nodes - 1)) ** (nodes - 1));
}

/** Nobody's probe order is random here but round-robin: everybody has probed the dead member after so many periods. */
export function lastDetectionPeriods(nodes: number): number {
  return 2 * (nodes - 1) - 1;
}

/** With probers out of step, the next probe of a given member comes after an exponentially distributed time. */
export function firstSuspicionMedianMs(): number {
  return memberlistLan.probeIntervalMs * (Math.LN2 + 1);
}

export function suspicionMinMs(nodes: number): number {
  const { suspicionMultiplier, probeIntervalMs } = memberlistLan;
  return suspicionMultiplier * Math.max(1, Math.log10(Math.max(1, nodes))) * probeIntervalMs;
}

export function suspicionMaxMs(nodes: number): number {
  return suspicionMinMs(nodes) * memberlistLan.suspicionMaxMultiplier;
}

export function retransmissions(nodes: number): number {
  return memberlistLan.retransmitMultiplier * Math.ceil(Math.log10(nodes + 1));
}

/**
 * Mean share of members that gossip has reached after each round: a member is missed by one teller with probability
 * 1 - fanout/(n-1). Returns the time until less than one member is expected to be left out.
 */
export function disseminationMs(nodes: number): number {
  const { gossipIntervalMs, gossipNodes } = memberlistLan;
  let reached = 1;
  let rounds = 0;
  for (; nodes - reached >= 1 && rounds < roundsMax; rounds++)
    reached += (nodes - reached) * (1 - (1 - gossipNodes / (nodes - 1)) ** reached);
  return rounds * gossipIntervalMs;
}

const roundsMax = 1000;
