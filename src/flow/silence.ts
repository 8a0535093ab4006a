/**
 * The longest silence that a switch has caused among flows, beyond what they show by themselves. Pure.
 *
 * Fed with samples of how long each flow has been silent. A silence is what no packet interrupted; it belongs to the
 * switch when it reaches into the time between arming and {@link settleMs} after the replies moved. Every other silence
 * shows the flow's own rhythm. Samples only find silences, they never make one longer than it was (SPEC R10).
 */

/** A flow counts when something of it had come in this time before the switch. */
const activeMs = 1_000;
/** Silences that begin later than this after the switch are the flow's own. */
const settleMs = 100;
/** A rhythm is known from so many packets that were seen to come. */
const arrivalsMin = 3;
/** The kernel's ages go in steps of its clock tick: only an age that is smaller by more shows that a packet came. */
const tickMs = 4;

export interface SilenceSample {
  readonly flow: bigint;
  readonly idleMs: number;
}

interface FlowSilence {
  lastArrivalMs: number;
  arrivals: number;
  ownMs: number;
  switchMs: number;
  active: boolean;
  arrivedAfter: boolean;
}

export class SilenceMeter {
  readonly #flows = new Map<bigint, FlowSilence>();
  #armedMs: number | undefined;
  #switchedMs: number | undefined;

  /** From now on a silence may be the switch's. */
  arm(nowMs: number): void {
    if (this.#armedMs !== undefined) return;
    this.#armedMs = nowMs;
    for (const flow of this.#flows.values()) flow.active = nowMs - flow.lastArrivalMs <= activeMs;
  }

  /** The replies have moved. */
  switched(nowMs: number): void {
    this.arm(nowMs);
    this.#switchedMs ??= nowMs;
  }

  note(samples: Iterable<SilenceSample>, nowMs: number): void {
    for (const { flow: key, idleMs } of samples) {
      const arrivalMs = nowMs - idleMs;
      const flow = this.#flows.get(key) ?? this.#add(key, arrivalMs);
      if (arrivalMs > flow.lastArrivalMs + tickMs) {
        flow.lastArrivalMs = arrivalMs;
        flow.arrivals++;
        if (this.#switchedMs !== undefined && arrivalMs > this.#switchedMs) flow.arrivedAfter = true;
      }
      if (this.#isOfSwitch(flow.lastArrivalMs, nowMs)) flow.switchMs = Math.max(flow.switchMs, idleMs);
      else flow.ownMs = Math.max(flow.ownMs, idleMs);
    }
  }

  /** Every flow that counts has been heard of since the switch. */
  get complete(): boolean {
    return this.#counting().every((flow) => flow.arrivedAfter);
  }

  /** Milliseconds; undefined: no flow was active whose rhythm is known. */
  get longestMs(): number | undefined {
    const counting = this.#counting();
    if (counting.length === 0) return undefined;
    return Math.max(0, ...counting.map((flow) => flow.switchMs - flow.ownMs));
  }

  #counting(): FlowSilence[] {
    return [...this.#flows.values()].filter((flow) => flow.active && flow.arrivals >= arrivalsMin);
  }

  /** A flow that comes after arming is none of the switch's. */
  #add(key: bigint, lastArrivalMs: number): FlowSilence {
    const flow = { lastArrivalMs, arrivals: 0, ownMs: 0, switchMs: 0, active: false, arrivedAfter: false };
    this.#flows.set(key, flow);
    return flow;
  }

  #isOfSwitch(sinceMs: number, nowMs: number): boolean {
    if (this.#armedMs === undefined || nowMs < this.#armedMs) return false;
    return this.#switchedMs === undefined || sinceMs <= this.#switchedMs + settleMs;
  }
}
