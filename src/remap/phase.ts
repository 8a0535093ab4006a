/** Questions about a remap's phase that more than one file asks. */
import type { PhaseState, RemapRecord } from "./record.ts";
import { type SwitchStage, switchStages } from "./record.ts";
import type { RemapPhase } from "./remap.ts";

interface PhaseTraits {
  /** Packets may already go to the target. */
  readonly flipped: boolean;
  readonly ended: boolean;
  /** What the remap sets up for its source's flows is still wanted. */
  readonly holds: boolean;
}

const traits: Readonly<Record<RemapPhase, PhaseTraits>> = {
  preparing: { flipped: false, ended: false, holds: true },
  arming: { flipped: false, ended: false, holds: true },
  switching: { flipped: true, ended: false, holds: true },
  draining: { flipped: true, ended: false, holds: true },
  finalizing: { flipped: true, ended: false, holds: false },
  completed: { flipped: true, ended: true, holds: false },
  aborting: { flipped: false, ended: false, holds: false },
  aborted: { flipped: false, ended: true, holds: false },
};

export const isFlipped = (record: RemapRecord): boolean => traits[record.phase.kind].flipped;
export const hasEnded = (record: RemapRecord): boolean => traits[record.phase.kind].ended;
export const stillHolds = (record: RemapRecord): boolean => traits[record.phase.kind].holds;

/** Preparing or arming: it may yet be aborted without a trace. */
export const isPending = (record: RemapRecord): boolean => stillHolds(record) && !isFlipped(record);

/** Nobody waits for the source; should it come back, what its sockets still hold is reset. */
export function isSourceLost({ phase }: RemapRecord): boolean {
  return (phase.kind === "finalizing" || phase.kind === "completed") && phase.outcome === "source-lost";
}

/** The switch has come to this stage, or is past all stages. */
export function hasReached(phase: PhaseState, stage: SwitchStage): boolean {
  if (phase.kind !== "switching") return traits[phase.kind].flipped;
  return switchStages.indexOf(phase.stage) >= switchStages.indexOf(stage);
}
