/** What of a policy is refused, whatever the cluster is like. */
import type { BatonError } from "./error.ts";
import type { RemapPolicy } from "./remap.ts";

const lingerMaxMs = 3_600_000;
/** 30 days. */
const deadlineMaxMs = 2_592_000_000;

export function policyRefusals(policy: RemapPolicy): readonly BatonError[] {
  const refusals: BatonError[] = [];
  if (policy.lingerMs > lingerMaxMs)
    refusals.push(invalid(`linger must be at most ${lingerMaxMs} ms, not ${policy.lingerMs}`));
  const late = deadlineRefusal(policy.deadlineMs);
  if (late !== undefined) refusals.push(late);
  return refusals;
}

/** Milliseconds from the moment from which a deadline is told; undefined: none. */
export function deadlineRefusal(deadlineMs: number | undefined): BatonError | undefined {
  if (deadlineMs === undefined || deadlineMs <= deadlineMaxMs) return undefined;
  return invalid(`deadline must be at most ${deadlineMaxMs} ms, not ${deadlineMs}`);
}

function invalid(message: string): BatonError {
  return { code: "INVALID_ARGUMENT", message };
}
