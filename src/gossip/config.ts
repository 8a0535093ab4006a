/** What the protocol's times and counts are, and why. The defaults are memberlist's for a local network. */

export interface GossipConfig {
  /** A probe begins this often; one at a time. */
  readonly probeIntervalMs: number;
  /** A direct ping has this long before others are asked to try. */
  readonly probeTimeoutMs: number;
  readonly indirectProbes: number;
  /** Try TCP beside the indirect probes: UDP alone may be blocked. */
  readonly streamFallback: boolean;
  readonly gossipIntervalMs: number;
  readonly gossipNodes: number;
  /** A dead member hears rumours for this long: it may live, and refute. */
  readonly gossipToTheDeadMs: number;
  /** A rumour is sent this many times the digits of the cluster's size. */
  readonly retransmitMultiplier: number;
  readonly suspicionMultiplier: number;
  /** Lifeguard: a suspicion that nobody confirms lasts this many times its minimum. 1: never longer. */
  readonly suspicionMaxMultiplier: number;
  /** Lifeguard: local health scales the probe's interval up to this. 1: health is ignored. */
  readonly awarenessMax: number;
  /** Lifeguard: who helps with a probe says so when it fails, which tells a deaf prober from a dead target. */
  readonly nacks: boolean;
  /** Lifeguard's buddy rule: a ping to a suspect tells it that it is suspected. */
  readonly tellSuspects: boolean;
  /** A step that comes this much late was late by our own fault, and proves nothing about others. 0: not minded. */
  readonly stallMs: number;
  readonly pushPullIntervalMs: number;
  /** How often somebody dead, or a seed, is tried again. */
  readonly reconnectIntervalMs: number;
  readonly streamTimeoutMs: number;
  /** A dead member's name passes to another address only after this. */
  readonly reclaimMs: number;
  /** Dead and left members are forgotten after this. */
  readonly reapMs: number;
  /** Bytes of a packet for messages; the envelope comes on top. */
  readonly packetBytes: number;
  readonly loadIntervalMs: number;
  /** Load reports in every ping and ack: a fixed price, whatever the cluster's size. 0: none. */
  readonly loadsPerPacket: number;
}

export const lanConfig: GossipConfig = {
  probeIntervalMs: 1_000,
  probeTimeoutMs: 500,
  indirectProbes: 3,
  streamFallback: true,
  gossipIntervalMs: 200,
  gossipNodes: 3,
  gossipToTheDeadMs: 30_000,
  retransmitMultiplier: 4,
  suspicionMultiplier: 4,
  suspicionMaxMultiplier: 6,
  awarenessMax: 8,
  nacks: true,
  tellSuspects: true,
  stallMs: 500,
  pushPullIntervalMs: 30_000,
  reconnectIntervalMs: 10_000,
  streamTimeoutMs: 10_000,
  reclaimMs: 30_000,
  reapMs: 24 * 3_600_000,
  packetBytes: 1_300,
  loadIntervalMs: 30_000,
  loadsPerPacket: 4,
};

/** SWIM as published, to compare with: fixed suspicion, no regard for one's own health. */
export function withoutLifeguard(config: GossipConfig): GossipConfig {
  return { ...config, suspicionMaxMultiplier: 1, awarenessMax: 1, nacks: false, tellSuspects: false, stallMs: 0 };
}
