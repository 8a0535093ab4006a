/** What has happened so far; read by metrics, changed by the machine alone. */
export interface GossipCounters {
  probes: number;
  /** The direct ping was not answered in time. */
  indirectProbes: number;
  /** TCP answered where UDP did not. */
  streamRescues: number;
  probesFailed: number;
  /** Pings that were meant for another member. */
  misdirectedPings: number;
  relays: number;
  relaysRefused: number;
  suspicions: number;
  confirmations: number;
  deaths: number;
  refutations: number;
  conflicts: number;
  /** A member too many, or one that speaks no version that we speak. */
  refusedMembers: number;
  stalls: number;
  pushPulls: number;
  pushPullsFailed: number;
  reconnects: number;
}

export function noCounts(): GossipCounters {
  return {
    probes: 0,
    indirectProbes: 0,
    streamRescues: 0,
    probesFailed: 0,
    misdirectedPings: 0,
    relays: 0,
    relaysRefused: 0,
    suspicions: 0,
    confirmations: 0,
    deaths: 0,
    refutations: 0,
    conflicts: 0,
    refusedMembers: 0,
    stalls: 0,
    pushPulls: 0,
    pushPullsFailed: 0,
    reconnects: 0,
  };
}
