/** Creates the next epoch for an operator, however many others create epochs meanwhile. */
import type { Assignment } from "../../src/placement/assignment.ts";
import type { EpochLog } from "../../src/placement/epoch-log.ts";
import type { DetailedError } from "../../src/rpc/errors.ts";
import type { Reply } from "../../src/rpc/handler.ts";

/** Epochs that others create meanwhile; then the operator had better look again. */
const attemptsMax = 8;
const createDeadlineMs = 5_000;

export type Next<T> = { readonly next: Assignment; readonly value: T } | DetailedError;

export interface Stored<T> {
  /** From which on it is so. */
  readonly epoch: bigint;
  readonly value: T;
}

/** `compute`: from the newest epoch, again where that was not the newest any more. */
export async function createNext<T>(
  epochs: EpochLog,
  compute: (current: Assignment) => Promise<Next<T>>,
  signal: AbortSignal,
): Promise<Reply<Stored<T>>> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const { current } = epochs;
    if (current === undefined) return refuse("no epoch is known yet: is there a tracker that runs?");
    const found = await compute(current);
    if (!("next" in found)) return { ok: false, error: found };
    const created = await create(epochs, found.next, signal);
    if (created === "away") return refuse("NATS did not take the next epoch: see whether it runs, and try again");
    if (created === "taken") continue;
    return { ok: true, value: { epoch: epochs.current?.epoch ?? found.next.epoch, value: found.value } };
  }
  return refuse(`others created ${attemptsMax} epochs meanwhile: try again`);
}

async function create(epochs: EpochLog, next: Assignment, signal: AbortSignal): Promise<"created" | "taken" | "away"> {
  const stop = AbortSignal.any([signal, AbortSignal.timeout(createDeadlineMs)]);
  try {
    return await epochs.create(next, stop);
  } catch (error) {
    if (!stop.aborted) throw error;
    return "away";
  }
}

function refuse(message: string): Reply<never> {
  return { ok: false, error: { code: "STORE_UNAVAILABLE", message } };
}
