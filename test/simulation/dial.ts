/** One TCP dialogue between two simulated nodes. */

export interface Dial {
  readonly id: number;
  readonly caller: number;
  /** Which process of the caller's node asked for it. */
  readonly callerBoot: number;
  readonly callee: number;
  /** The caller was told how it ended. */
  settled: boolean;
}
