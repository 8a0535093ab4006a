/** Time as an argument, so that whatever depends on it can be tested without waiting. */

export interface Clock {
  /** Milliseconds since the Unix epoch; may jump. For what others read. */
  nowMs(): number;
  /** Milliseconds since some fixed moment; never goes back. For measuring and deadlines. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
