/**
 * How long changes gather before they are sent, so that the whole cluster stays within its budget of messages a second.
 *
 * Nobody has to be asked how busy the others are: an acknowledgement gives the message's sequence in the stream, which
 * counts the messages of all. While there are more than the budget allows, everyone's window widens in proportion; when
 * there are less, it narrows. Beyond the widest window the budget is exceeded: that many shards have something to say.
 */

export interface FlushLimits {
  /** Of the window; 0: every change is sent at once, and none is only counted. */
  readonly windowMinMs: number;
  readonly windowMaxMs: number;
  /** Of the cluster, flow events of all instances together. */
  readonly messagesPerSecond: number;
}

export const defaultFlushLimits: FlushLimits = { windowMinMs: 50, windowMaxMs: 1_000, messagesPerSecond: 10_000 };

/** The rate is judged over so long, at least. */
const judgeEveryMs = 1_000;
/** The window is set for this part of the budget: the rest is for bursts and what has no window. */
const aim = 0.8;
/** Of one judgement: a burst must not throw the window from one end to the other. */
const stepMax = 2;
/** Where a window of nothing begins to widen. */
const leastWideningMs = 10;

export class FlushWindow {
  readonly #limits: FlushLimits;
  #windowMs: number;
  #since: { readonly sequence: bigint; readonly atMs: number } | undefined;
  #messagesPerSecond = 0;

  constructor(limits: FlushLimits) {
    this.#limits = limits;
    this.#windowMs = limits.windowMinMs;
  }

  get windowMs(): number {
    return this.#windowMs;
  }

  /** Of the cluster, when last judged. */
  get messagesPerSecond(): number {
    return this.#messagesPerSecond;
  }

  /** A message of ours was stored with this sequence. */
  stored(sequence: bigint, nowMs: number): void {
    const since = this.#since;
    if (since === undefined || sequence < since.sequence) {
      this.#since = { sequence, atMs: nowMs };
      return;
    }
    const elapsedMs = nowMs - since.atMs;
    if (elapsedMs < judgeEveryMs) return;
    this.#since = { sequence, atMs: nowMs };
    this.#messagesPerSecond = (Number(sequence - since.sequence) / elapsedMs) * 1_000;
    this.#adapt(this.#messagesPerSecond / (this.#limits.messagesPerSecond * aim));
  }

  #adapt(load: number): void {
    const { windowMinMs, windowMaxMs } = this.#limits;
    const step = Math.min(stepMax, Math.max(1 / stepMax, load));
    const from = step > 1 ? Math.max(this.#windowMs, leastWideningMs) : this.#windowMs;
    const to = from * step;
    this.#windowMs = Math.min(windowMaxMs, to < leastWideningMs ? windowMinMs : Math.max(windowMinMs, to));
  }
}
