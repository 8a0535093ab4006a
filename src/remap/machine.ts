/**
 * The phase machine of a remap: step(state, event, context) → the next state and what must be done.
 *
 * Nothing here reads a clock, a socket or a random number. Every pair of phase and event has an entry in
 * {@link transitions}, or this file does not compile. A returned state that comes with effect `store` is not in force
 * before it is stored; then event `committed` follows, and `observed` after it.
 */
import { abortByOperator, noteBarrier, observeAborting, observeArming, observePreparing } from "./before-flip.ts";
import { cutDraining, moveDeadline, noteCount, observeDraining, releaseDraining } from "./draining.ts";
import { observeFinalizing } from "./finalizing.ts";
import type { RemapState } from "./record.ts";
import type { RemapPhase } from "./remap.ts";
import { commitSwitching, observeSwitching } from "./switching.ts";
import {
  amend,
  type Context,
  type EventOf,
  type RemapEvent,
  refused,
  type Step,
  stay,
  type Transition,
} from "./transition.ts";

type Table = {
  readonly [P in RemapPhase]: { readonly [K in RemapEvent["kind"]]: Transition<P, K> };
};

const ignore = (state: RemapState): Step => stay(state);

const wrongPhase =
  (hint: string) =>
  (state: RemapState, event: RemapEvent): Step =>
    refused(state, "WRONG_PHASE", `${event.kind} is not possible while ${state.record.phase.kind}: ${hint}`);

const onlyDraining = wrongPhase("it is for a remap that is draining");
const hasEnded = wrongPhase("the remap has ended");

const remapBack = (state: RemapState, event: EventOf<"abort">): Step =>
  stay(state, [{ kind: "remap-back", by: event.by }]);

const noteOwned = (state: RemapState): Step => stay(amend(state, { ownershipPublished: true }));

const beforeFlip = {
  committed: ignore,
  barrier: noteBarrier,
  counted: ignore,
  owned: ignore,
  abort: abortByOperator,
  cut: onlyDraining,
  release: onlyDraining,
  deadline: onlyDraining,
};

const ended = {
  observed: ignore,
  committed: ignore,
  barrier: ignore,
  counted: ignore,
  owned: ignore,
  abort: hasEnded,
  cut: hasEnded,
  release: hasEnded,
  deadline: hasEnded,
};

export const transitions: Table = {
  preparing: { ...beforeFlip, observed: observePreparing },
  arming: { ...beforeFlip, observed: observeArming },
  switching: {
    observed: observeSwitching,
    committed: commitSwitching,
    barrier: noteBarrier,
    counted: ignore,
    owned: ignore,
    abort: remapBack,
    cut: onlyDraining,
    release: onlyDraining,
    deadline: onlyDraining,
  },
  draining: {
    observed: observeDraining,
    committed: ignore,
    barrier: ignore,
    counted: noteCount,
    owned: ignore,
    abort: remapBack,
    cut: cutDraining,
    release: releaseDraining,
    deadline: moveDeadline,
  },
  finalizing: {
    observed: observeFinalizing,
    committed: ignore,
    barrier: ignore,
    counted: ignore,
    owned: noteOwned,
    abort: remapBack,
    cut: onlyDraining,
    release: onlyDraining,
    deadline: onlyDraining,
  },
  completed: ended,
  aborting: { ...beforeFlip, observed: observeAborting, barrier: ignore, abort: ignore },
  aborted: ended,
};

export function step(state: RemapState, event: RemapEvent, context: Context): Step {
  // The table is total over phases and kinds; the compiler can't follow that both indices belong to these two values.
  const transition = transitions[state.record.phase.kind][event.kind] as unknown as (
    state: RemapState,
    event: RemapEvent,
    context: Context,
  ) => Step;
  return transition(state, event, context);
}
