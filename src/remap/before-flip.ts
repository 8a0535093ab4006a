/** Preparing, arming, and undoing both. Until the flip every failure ends in `aborting`, which leaves no trace. */
import { activeOwners, holderOf } from "./chain.ts";
import {
  acceptRemovalWaits,
  armingWaits,
  linkWaits,
  markPositions,
  preparingWaits,
  provenSize,
  removalWaits,
} from "./checklist.ts";
import type { BatonError } from "./error.ts";
import { type RemapState, snapshotMarkId, type Wait } from "./record.ts";
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
  waitedMs,
} from "./transition.ts";

export function observePreparing(state: StateIn<"preparing">, _event: EventOf<"observed">, context: Context): Step {
  const { view } = context;
  const linksUp = state.live.linksUp || linkWaits(state, view).length === 0;
  const waiting = timedApart(state, awaiting(amend(state, { linksUp }), preparingWaits(state, view), context), context);
  const { preparingMs, trackersMs = Number.POSITIVE_INFINITY } = context.bounds;
  const failure = failureOf(waiting, context, areTrackersAlone(waiting) ? trackersMs : preparingMs);
  if (failure !== undefined) return giveUp(waiting, failure, context);
  if (waiting.live.waits.length > 0) return stay(waiting, snapshotBarrier(state, context));
  const positions = markPositions(state, view, snapshotMarkId(state.record.id));
  const owners = state.record.owners.map((owner) => ({ ...owner, loadAtLeast: positions.get(owner.owner) ?? [] }));
  const proven = activeOwners(view.chain, state).map((owner) => provenSize(state, view, owner));
  const provenMtu = proven.length === 0 ? 0 : Math.min(...proven);
  return enter(waiting, { kind: "arming" }, context, { owners, provenMtu });
}

/** Nodes and trackers have bounds of their own, so neither's time is counted against the other. */
function timedApart(before: RemapState, waiting: RemapState, { now }: Context): RemapState {
  if (areTrackersAlone(before) === areTrackersAlone(waiting)) return waiting;
  return amend(waiting, { enteredMs: now.monotonicMs });
}

function areTrackersAlone({ live }: RemapState): boolean {
  return live.waits.length > 0 && live.waits.every(({ kind }) => kind === "tracker");
}

function snapshotBarrier(state: RemapState, { view }: Context): readonly Effect[] {
  const id = snapshotMarkId(state.record.id);
  const owners = activeOwners(view.chain, state);
  const positions = markPositions(state, view, id);
  if (owners.length === 0 || positions.size < owners.length || state.live.barriersPassed.includes(id)) return [];
  return [{ kind: "barrier", id, positions: [...positions.values()].flat() }];
}

export function observeArming(state: StateIn<"arming">, _event: EventOf<"observed">, context: Context): Step {
  const waiting = awaiting(state, armingWaits(state, context.view), context);
  const failure = failureOf(waiting, context, context.bounds.armingMs);
  if (failure !== undefined) return giveUp(waiting, failure, context);
  if (waiting.live.waits.length > 0) return stay(waiting);
  const sourceKernel = context.view.world.agents.get(state.record.source)?.hello?.kernel;
  const more = sourceKernel === undefined ? {} : { sourceKernel };
  return enter(waiting, { kind: "switching", stage: "flip" }, context, more);
}

/** A node that is away is not waited for: the first thing that it hears when it is back is the state without this. */
export function observeAborting(state: StateIn<"aborting">, _event: EventOf<"observed">, context: Context): Step {
  const waits = [...removalWaits(state, context.view, "connected"), ...acceptRemovalWaits(state, context.view)];
  const waiting = awaiting(state, waits, context);
  if (waits.length > 0) return stay(waiting);
  return enter(waiting, { kind: "aborted", why: state.record.phase.why }, context);
}

export function abortByOperator(state: RemapState, event: EventOf<"abort">, context: Context): Step {
  return giveUp(state, { code: "ABORTED_BY_OPERATOR", message: `aborted by ${event.by}` }, context);
}

function giveUp(state: RemapState, why: BatonError, context: Context): Step {
  return enter(state, { kind: "aborting", why }, context);
}

function failureOf(state: RemapState, context: Context, boundMs: number): BatonError | undefined {
  const fault = overtakenError(state, context) ?? faultOf(state, context);
  if (fault !== undefined) return fault;
  const { waits } = state.live;
  if (waits.length === 0 || waitedMs(state, context) < boundMs) return undefined;
  return timeoutError(waits, boundMs);
}

/**
 * A record that an earlier leader wrote may reach the store after its successor has read it. By the time that it is read
 * the address may have moved, and the remap means an address that is no longer there (invariant R13).
 */
function overtakenError({ record }: RemapState, { view }: Context): BatonError | undefined {
  const { instance, generation } = holderOf(view.chain);
  if (instance === record.source && generation === record.sourceGeneration) return undefined;
  const since = `${record.address} has moved to ${instance} since (generation ${generation})`;
  return { code: "ADDRESS_BUSY", message: `${since}: ask for a new remap if it is to move on` };
}

/** A proof can't arrive before the nodes are ready, so the nodes are blamed first. */
function timeoutError(waits: readonly Wait[], boundMs: number): BatonError {
  const of = (kind: Wait["kind"]) => waits.filter((wait) => wait.kind === kind);
  const list = (chosen: readonly Wait[]) => chosen.map(({ node, what }) => `${node} ${what}`).join("; ");
  const within = `within ${boundMs / 1000} s`;
  const [nodes, sizes, proofs, trackers] = [of("node"), of("size"), of("proof"), of("tracker")];
  if (nodes.length > 0)
    return {
      code: "NODE_TIMEOUT",
      message: `not done ${within}: ${list(nodes)}. See that service's log; gateways rm or instances rm gives up a dead one`,
    };
  if (sizes.length > 0)
    return { code: "MTU_TOO_SMALL", message: `only smaller proofs came back ${within}: ${list(sizes)}` };
  if (proofs.length > 0)
    return {
      code: "CHANNEL_UNPROVEN",
      message: `not seen ${within}: ${list(proofs)}. Something on that way drops it: a firewall, a source check, or the packet size`,
    };
  return { code: "TRACKER_BEHIND", message: `not done ${within}: ${list(trackers)}` };
}

/** Trackers answered about a barrier; what follows from it is decided by the next look at everything. */
export function noteBarrier(state: RemapState, event: EventOf<"barrier">): Step {
  if (!event.passed) return stay(amend(state, { barrierTrouble: event.message }));
  const { barrierTrouble: _cleared, ...live } = state.live;
  return stay({ ...state, live: { ...live, barriersPassed: [...new Set([...live.barriersPassed, event.id])] } });
}
