/** Events, effects, and the few moves of which every transition of the machine is made. */
import type { AddressRecord } from "../inventory/inventory.ts";
import type { ShardPosition } from "../node/state.ts";
import type { View } from "./checklist.ts";
import type { BatonError, ErrorCode } from "./error.ts";
import type { PhaseState, RemapLive, RemapRecord, RemapState, Wait } from "./record.ts";
import type { RemapPhase } from "./remap.ts";

export type RemapEvent =
  /** Something about a node changed, or time has passed. */
  | { readonly kind: "observed" }
  /** The record is in the store; what rests on it goes out now. */
  | { readonly kind: "committed" }
  | { readonly kind: "barrier"; readonly id: string; readonly passed: true }
  | { readonly kind: "barrier"; readonly id: string; readonly passed: false; readonly message: string }
  /** Flows of the source that the trackers know. */
  | { readonly kind: "counted"; readonly flows: number }
  /** The event stream says that the address belongs to the target alone. */
  | { readonly kind: "owned" }
  | { readonly kind: "abort"; readonly by: string }
  | { readonly kind: "cut"; readonly by: string }
  | { readonly kind: "release"; readonly by: string }
  /** Milliseconds from now; absent: none. */
  | { readonly kind: "deadline"; readonly deadlineMs?: number };

/** What the coordinator must do. All are idempotent; `store` precedes whatever else rests on the record. */
export type Effect =
  /** Store the record, then commit it and act on it. */
  | { readonly kind: "store" }
  /** Act on the record at once and store it right after: the orders of a switch can't wait for a disk. */
  | { readonly kind: "store-after" }
  /** Store the address's new place together with the record. */
  | { readonly kind: "place"; readonly record: AddressRecord }
  /** Ask the trackers; answered by event `barrier`. */
  | { readonly kind: "barrier"; readonly id: string; readonly positions: readonly ShardPosition[] }
  /** Ask the trackers; answered by event `counted`. */
  | { readonly kind: "count" }
  /** Tell the event stream; answered by event `owned`. */
  | { readonly kind: "own" }
  /** Move the address back by a remap of its own. */
  | { readonly kind: "remap-back"; readonly by: string };

export interface Step {
  readonly state: RemapState;
  readonly effects: readonly Effect[];
  /** The event was a request, and this is why it is turned down. */
  readonly refusal?: BatonError;
}

export interface Now {
  /** Milliseconds since the Unix epoch; for records. */
  readonly wallMs: number;
  /** For bounds and measurements. */
  readonly monotonicMs: number;
}

/** How long the nodes have for each phase before the flip, and the source while it drains; milliseconds. */
export interface Bounds {
  readonly preparingMs: number;
  readonly armingMs: number;
  /** How long nothing may have been heard of a draining remap's source before its connections count as lost. */
  readonly sourceLostMs: number;
  /**
   * How long the trackers have to apply the snapshot when nothing else is missing; absent: as long as it takes. They keep
   * nobody's packets waiting, and are waited for in `preparing`, where nothing has changed yet.
   */
  readonly trackersMs?: number | undefined;
}

export interface Context {
  readonly view: View;
  readonly now: Now;
  readonly bounds: Bounds;
}

export type EventOf<K extends RemapEvent["kind"]> = Extract<RemapEvent, { readonly kind: K }>;

/** A state whose record is in phase P. */
export interface StateIn<P extends RemapPhase> extends RemapState {
  readonly record: RemapRecord & { readonly phase: Extract<PhaseState, { readonly kind: P }> };
}

export type Transition<P extends RemapPhase, K extends RemapEvent["kind"]> = (
  state: StateIn<P>,
  event: EventOf<K>,
  context: Context,
) => Step;

export function stay(state: RemapState, effects: readonly Effect[] = []): Step {
  return { state, effects };
}

export function refused(state: RemapState, code: ErrorCode, message: string): Step {
  return { state, effects: [], refusal: { code, message } };
}

/** The record's next version: what was measured so far is stored with it. */
export function revise(state: RemapState, change: Partial<RemapRecord>): RemapState {
  const { flows, traffic, counts } = state.live;
  return { ...state, record: { ...state.record, flows, traffic, counts, ...change, step: state.record.step + 1 } };
}

export function enter(
  state: RemapState,
  phase: PhaseState,
  { now }: Context,
  more: Partial<RemapRecord> = {},
  effects: readonly Effect[] = [{ kind: "store" }],
): Step {
  const sameKind = state.record.phase.kind === phase.kind;
  const phaseAtMs = sameKind ? state.record.phaseAtMs : { ...state.record.phaseAtMs, [phase.kind]: now.wallMs };
  const revised = revise(state, { ...more, phase, phaseAtMs });
  const { enteredMs: _entered, quiet: _quiet, barrierTrouble: _trouble, ...kept } = revised.live;
  return { state: { ...revised, live: { ...kept, waits: [], resumed: false } }, effects };
}

export function amend(state: RemapState, change: Partial<RemapLive>): RemapState {
  return { ...state, live: { ...state.live, ...change } };
}

/** Notes what is waited for; what was waited for before keeps its time. */
export function awaiting(state: RemapState, waits: readonly Wait[], { now }: Context): RemapState {
  const known = new Map(state.live.waits.map((wait) => [keyOf(wait), wait.sinceMs]));
  const dated = waits.map((wait) => ({ ...wait, sinceMs: known.get(keyOf(wait)) ?? now.wallMs }));
  return amend(state, { waits: dated, enteredMs: state.live.enteredMs ?? now.monotonicMs });
}

function keyOf(wait: Wait): string {
  return `${wait.kind} ${wait.node}`;
}

export function waitedMs(state: RemapState, { now }: Context): number {
  return now.monotonicMs - (state.live.enteredMs ?? now.monotonicMs);
}

/** What a node that takes part reports as impossible; a fault of another address is not this remap's. */
export function faultOf(state: RemapState, { view }: Context): BatonError | undefined {
  const { record } = state;
  const agents = [record.target, ...record.owners.map(({ owner }) => owner), record.source];
  const nodes = [...new Set(agents)].flatMap((name) => view.world.agents.get(name) ?? []);
  for (const { name, faults } of [...nodes, ...view.world.gateways.values()]) {
    const fault = faults.find(({ address }) => address === undefined || address === record.address);
    if (fault !== undefined) return { code: fault.code, message: `${name}: ${fault.message}` };
  }
  return undefined;
}
