/**
 * The switch: make before break, in the order of page 2 of the design.
 *
 * From here on nothing is undone and nothing gives up: what is missing is waited for, and said. Between the
 * gateways' acknowledgements and the source's order there is no store write: stage `return` is stored after its orders
 * are sent. A leader that finds stage `flip` in the store therefore can't know whether the source has its orders; until
 * all gateways have answered it sends the ends nothing (see {@link heldBack}).
 */
import { type Chain, structuresOf } from "./chain.ts";
import {
  barrierWaits,
  flipWaits,
  markPositions,
  retireWaits,
  returnWaits,
  settleWaits,
  sourceReturnWaits,
} from "./checklist.ts";
import { measure } from "./figures.ts";
import { hasReached } from "./phase.ts";
import { barrierMarkId, type RemapState, type SwitchStage, type Wait } from "./record.ts";
import {
  amend,
  awaiting,
  type Context,
  type Effect,
  type EventOf,
  enter,
  faultOf,
  type StateIn,
  type Step,
  stay,
} from "./transition.ts";

type Switching = StateIn<"switching">;

export function observeSwitching(state: Switching, _event: EventOf<"observed">, context: Context): Step {
  const { later } = context.view;
  if (later.settled) return overtaken(state, context);
  const troubled = noteTrouble(hasReached(state.record.phase, "return") ? measure(state, context) : state, context);
  if (later.exists)
    return stay(awaiting(troubled, [{ node: later.holder, what: "to take the address over", kind: "node" }], context));
  const { stage } = state.record.phase;
  const measured = stage === "return" ? measureSwitch(troubled, context) : troubled;
  const waiting = awaiting(measured, stageWaits[stage](measured, context.view), context);
  if (waiting.live.waits.length > 0) return stay(waiting, stage === "barrier" ? switchBarrier(state, context) : []);
  return nextStage(waiting, stage, context);
}

const stageWaits: Readonly<Record<SwitchStage, (state: RemapState, view: Context["view"]) => readonly Wait[]>> = {
  flip: flipWaits,
  return: returnWaits,
  barrier: barrierWaits,
  settle: settleWaits,
  retire: retireWaits,
};

function nextStage(state: RemapState, stage: SwitchStage, context: Context): Step {
  switch (stage) {
    case "flip":
      return enter(state, { kind: "switching", stage: "return" }, context, {}, [{ kind: "store-after" }]);
    case "return":
      return enter(state, { kind: "switching", stage: "barrier" }, context);
    case "barrier":
      return enter(state, { kind: "switching", stage: "settle" }, context);
    case "settle":
      return enter(state, { kind: "switching", stage: "retire" }, context);
    case "retire":
      return afterSwitch(state, context);
    default:
      return stage satisfies never;
  }
}

function afterSwitch(state: RemapState, context: Context): Step {
  const { address, target, targetPrivate, generation, policy } = state.record;
  const record = { address, instance: target, private: targetPrivate, generation };
  const effects: readonly Effect[] = [{ kind: "place", record }, { kind: "store" }];
  if (policy.follow) return enter(state, { kind: "draining", cut: false }, context, {}, effects);
  const outcome = state.live.flows.cut > 0 ? "cut" : "completed";
  return enter(state, { kind: "finalizing", outcome }, context, {}, effects);
}

/** A later remap has moved the address on, and its switch has settled: this one's own switch is moot. */
function overtaken(state: RemapState, context: Context): Step {
  if (!context.view.later.home) return enter(state, { kind: "draining", cut: false }, context);
  const targetUp = context.view.world.agents.get(state.record.target)?.connected === true;
  return enter(state, { kind: "finalizing", outcome: targetUp ? "completed" : "target-lost" }, context);
}

function measureSwitch(state: RemapState, { view, now }: Context): RemapState {
  const { flipSentMs } = state.live;
  if (state.record.switchMs !== undefined || flipSentMs === undefined) return state;
  if (sourceReturnWaits(state, view).length > 0) return state;
  return { ...state, record: { ...state.record, switchMs: now.monotonicMs - flipSentMs } };
}

function switchBarrier(state: RemapState, { view }: Context): readonly Effect[] {
  const id = barrierMarkId(state.record.id);
  const positions = markPositions(state, view, id);
  const pendingOwners = state.live.waits.some(({ kind }) => kind === "node");
  if (positions.size === 0 || pendingOwners || state.live.barriersPassed.includes(id)) return [];
  return [{ kind: "barrier", id, positions: [...positions.values()].flat() }];
}

/** Orders go out right after this: here the switch begins. */
export function commitSwitching(state: Switching, _event: EventOf<"committed">, { now }: Context): Step {
  if (state.record.phase.stage !== "flip" || state.live.flipSentMs !== undefined) return stay(state);
  return stay(amend(state, { flipSentMs: now.monotonicMs }));
}

export function noteTrouble(state: RemapState, context: Context): RemapState {
  const { trouble: _before, ...live } = state.live;
  const trouble = faultOf(state, context);
  return { ...state, live: trouble === undefined ? live : { ...live, trouble } };
}

/** Agents that must be sent nothing yet: what they have may be newer than what the store told this leader. */
export function heldBack(chain: Chain): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { record, live } of structuresOf(chain)) {
    if (!live.resumed || record.phase.kind !== "switching" || record.phase.stage !== "flip") continue;
    for (const name of [record.source, record.target, ...record.owners.map(({ owner }) => owner)]) names.add(name);
  }
  return names;
}
