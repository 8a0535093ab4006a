/**
 * How long flows were silent beyond their own rhythm, from two captures on one machine: where the flow's owner sends,
 * and where the client receives. Pure.
 *
 * What the owner sends at a moment should arrive a moment later. The time from the first sending of a byte until the
 * client's capture holds all bytes up to it is that byte's delay; a process that could not run delays the sending and
 * is thus not counted, a lost packet counts until its repetition arrives.
 */
import type { CapturedPacket, CapturedSegment } from "./pcap.ts";

export interface FlowDelay {
  /** "client address:port > server port" */
  readonly flow: string;
  readonly longestDelayMs: number;
  /** When the byte that took longest was sent, microseconds since the epoch. */
  readonly sentAtUs: number;
  /** Segments with bytes that the owner had sent before; it may have been in a hurry, with nothing lost. */
  readonly repeated: number;
  /** Segments that did not arrive. */
  readonly lost: number;
  readonly segments: number;
}

interface Sent {
  readonly atUs: number;
  readonly start: number;
  /** Sequence number behind the last byte. */
  readonly end: number;
}

interface Judged {
  readonly fromUs: number;
  readonly untilUs: number;
}

interface FlowSendings {
  /** What had not been sent before. */
  readonly fresh: Sent[];
  readonly all: Sent[];
  highest: number | undefined;
  repeated: number;
}

/**
 * `atOwner`: packets captured where the owner sends, `atClient`: where the client receives, both in order of time.
 * `ownerPrivate` is the source at the owner, `publicAddress` the source at the client. Segments sent in the last
 * `tailMs` before the client's capture ends may still be on their way, and those sent in the first
 * `headMs` may have passed before it saw everything (a capture misses some in its first millisecond): neither is judged.
 */
export function flowDelays(options: {
  readonly atOwner: Iterable<CapturedPacket>;
  readonly atClient: Iterable<CapturedPacket>;
  readonly ownerPrivate: string;
  readonly publicAddress: string;
  readonly headMs: number;
  readonly tailMs: number;
}): FlowDelay[] {
  const sendings = collectSendings(options.atOwner, options.ownerPrivate);
  const arrivals = collectArrivals(options.atClient, options.publicAddress);
  const judged = { fromUs: arrivals.firstUs + options.headMs * 1000, untilUs: arrivals.lastUs - options.tailMs * 1000 };
  return [...sendings].map(([flow, flowSendings]) =>
    judge(flow, flowSendings, arrivals.byFlow.get(flow) ?? [], judged),
  );
}

function collectSendings(packets: Iterable<CapturedPacket>, source: string): Map<string, FlowSendings> {
  const byFlow = new Map<string, FlowSendings>();
  for (const packet of packets) {
    const segment = packet.tcp;
    if (packet.source !== source || segment === undefined || segment.payloadBytes <= 0 || segment.rst) continue;
    const flow = flowName(packet, segment);
    const known = byFlow.get(flow) ?? { fresh: [], all: [], highest: undefined, repeated: 0 };
    byFlow.set(flow, known);
    const end = (segment.sequence + segment.payloadBytes) >>> 0;
    const sent = { atUs: packet.atUs, start: segment.sequence, end };
    known.all.push(sent);
    if (known.highest !== undefined && distance(known.highest, segment.sequence) < 0) known.repeated++;
    if (known.highest !== undefined && distance(known.highest, end) <= 0) continue;
    known.highest = end;
    known.fresh.push(sent);
  }
  return byFlow;
}

interface Arrival {
  readonly atUs: number;
  readonly start: number;
  readonly end: number;
}

function collectArrivals(
  packets: Iterable<CapturedPacket>,
  source: string,
): { byFlow: Map<string, Arrival[]>; firstUs: number; lastUs: number } {
  const byFlow = new Map<string, Arrival[]>();
  let firstUs = Number.POSITIVE_INFINITY;
  let lastUs = 0;
  for (const packet of packets) {
    const segment = packet.tcp;
    firstUs = Math.min(firstUs, packet.atUs);
    lastUs = packet.atUs;
    if (packet.source !== source || segment === undefined || segment.payloadBytes <= 0) continue;
    const flow = flowName(packet, segment);
    const arrivals = byFlow.get(flow) ?? [];
    byFlow.set(flow, arrivals);
    arrivals.push({
      atUs: packet.atUs,
      start: segment.sequence,
      end: (segment.sequence + segment.payloadBytes) >>> 0,
    });
  }
  return { byFlow, firstUs, lastUs };
}

function judge(flow: string, sendings: FlowSendings, arrivals: readonly Arrival[], judged: Judged): FlowDelay {
  let longestDelayMs = 0;
  let sentAtUs = 0;
  let next = 0;
  let held: number | undefined;
  let heldSinceUs = 0;
  const early: Arrival[] = [];
  for (const sent of sendings.fresh) {
    if (sent.atUs > judged.untilUs) break;
    if (sent.atUs < judged.fromUs) continue;
    while ((held === undefined || distance(held, sent.end) > 0) && next < arrivals.length) {
      const arrival = arrivals[next++] as Arrival;
      // Before the first byte is known there is no gap to see.
      if (held === undefined || distance(held, arrival.start) <= 0) held = furthest(held, arrival, early);
      else early.push(arrival);
      heldSinceUs = arrival.atUs;
    }
    const arrived = held !== undefined && distance(held, sent.end) <= 0;
    const delayMs = ((arrived ? heldSinceUs : judged.untilUs) - sent.atUs) / 1000;
    if (arrived && heldSinceUs < sent.atUs) continue;
    if (delayMs <= longestDelayMs) continue;
    longestDelayMs = delayMs;
    sentAtUs = sent.atUs;
  }
  const lost = countLost(sendings.all, arrivals, judged);
  return { flow, longestDelayMs, sentAtUs, repeated: sendings.repeated, lost, segments: sendings.all.length };
}

/** Segments are not cut or joined on the way, so each that arrives is one that was sent. */
function countLost(sent: readonly Sent[], arrivals: readonly Arrival[], judged: Judged): number {
  const ways = new Map<string, number>();
  const count = (segment: { readonly start: number; readonly end: number }, change: number) => {
    const key = `${segment.start} ${segment.end}`;
    ways.set(key, (ways.get(key) ?? 0) + change);
  };
  for (const segment of sent) if (segment.atUs >= judged.fromUs && segment.atUs <= judged.untilUs) count(segment, 1);
  for (const arrival of arrivals) count(arrival, -1);
  return [...ways.values()].reduce((lost, missing) => lost + Math.max(0, missing), 0);
}

/** The end of what is held without a gap, when `arrival` and what came too early are joined to it. */
function furthest(held: number | undefined, arrival: Arrival, early: Arrival[]): number {
  let end = held === undefined || distance(held, arrival.end) > 0 ? arrival.end : held;
  for (let index = early.findIndex((one) => distance(end, one.start) <= 0); index >= 0; ) {
    const [joined] = early.splice(index, 1);
    if (joined !== undefined && distance(end, joined.end) > 0) end = joined.end;
    index = early.findIndex((one) => distance(end, one.start) <= 0);
  }
  return end;
}

function flowName(packet: CapturedPacket, segment: CapturedSegment): string {
  return `${packet.destination}:${segment.destinationPort} > ${segment.sourcePort}`;
}

/** From `from` to `to` in sequence space (RFC 9293 3.4), negative when `to` lies before. */
function distance(from: number, to: number): number {
  return (to - from) | 0;
}
