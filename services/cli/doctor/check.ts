/** What `baton doctor` finds out, one thing a check. */

export type CheckState =
  | "ok"
  /** Something is missing that only some uses need. */
  | "limited"
  | "failed"
  /** It could not be found out. */
  | "unknown";

export interface CheckResult {
  readonly name: string;
  readonly state: CheckState;
  readonly found: string;
  /** What to do about it; absent where nothing is to be done. */
  readonly next?: string;
}
