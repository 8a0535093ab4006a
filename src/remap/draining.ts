/**
 * Draining and finalizing: the source's connections end by themselves, or are ended, and then nothing is left of the remap.
 *
 * A drain is believed when three witnesses agree for `lingerMs`: the source's kernel, the trackers, and the
 * channel's counters, which count owner-confirmed connections only.
 */
import { predecessors } from "./chain.ts";
import { removalWaits, trackerNode } from "./checklist.ts";
import { drainReportOf, linkReportOf, measure, withClosed } from "./figures.ts";
import type { RemapState, Wait } from "./record.ts";
import { noteTrouble } from "./switching.ts";
import {
  amend,
  awaiting,
  type Context,
  type EventOf,
  enter,
  refused,
  type StateIn,
  type Step,
  stay,
} from "./transition.ts";

type Draining = StateIn<"draining">;

export function observeDraining(state: Draining, _event: EventOf<"observed">, context: Context): Step {
  const { world, later } = context.view;
  if (later.home) {
    if (later.settled) return enter(state, { kind: "finalizing", outcome: endOutcome(state) }, context);
    return stay(awaiting(state, [{ node: later.holder, what: "to take the address over", kind: "node" }], context));
  }
  if (!world.agents.has(state.record.source)) {
    const lost = amend(state, { flows: { ...state.live.flows, lost: state.live.flows.remaining, remaining: 0 } });
    return enter(lost, { kind: "finalizing", outcome: "source-lost" }, context);
  }
  const measured = noteTrouble(measure(state, context), context);
  if (isDue(state, context) && state.record.policy.onDeadline === "cut" && !state.record.phase.cut)
    return enter(measured, { kind: "draining", cut: true }, context);
  const looked = lookForQuiet(measured, context);
  const waits = drainWaits(looked, state.record.phase.cut, context);
  if (waits.length === 0) return enter(looked, { kind: "finalizing", outcome: endOutcome(looked) }, context);
  const ask = looked.live.quiet !== undefined && looked.live.tracked !== 0 && !state.record.phase.cut;
  return stay(awaiting(looked, waits, context), ask ? [{ kind: "count" }] : []);
}

function endOutcome(state: RemapState): "cut" | "completed" {
  const asked = state.record.phase.kind === "draining" && state.record.phase.cut;
  return asked || state.live.flows.cut > 0 ? "cut" : "completed";
}

/** Notes since when the source has no connection left and nothing moves in the channel. */
function lookForQuiet<S extends RemapState>(state: S, context: Context): S {
  const { view, now } = context;
  const open = drainReportOf(state, context)?.open;
  const { quiet, tracked: _asked, ...live } = state.live;
  if (open !== 0) return { ...state, live };
  const report = linkReportOf(state, view);
  const cut = state.record.phase.kind === "draining" && state.record.phase.cut;
  const counters = cut || report === undefined ? "" : `${report.followedPackets} ${report.returnedPackets}`;
  if (quiet?.counters === counters) return state;
  const { tracked } = state.live;
  const since = { sinceMs: now.monotonicMs, counters };
  return { ...state, live: { ...live, quiet: since, ...(tracked !== undefined && { tracked }) } };
}

function drainWaits(state: RemapState, cut: boolean, context: Context): readonly Wait[] {
  const { record, live } = state;
  const drain = drainReportOf(state, context);
  const node = record.source;
  if (drain === undefined) {
    const away = context.view.world.agents.get(node)?.connected === true ? "" : "; it is not connected";
    return [{ node, what: `to report its open connections${away}`, kind: "node" }];
  }
  if (drain.open > 0) return [{ node, what: openConnections(state, drain.open, cut, context), kind: "node" }];
  if (!cut && live.tracked !== 0) {
    const seen =
      live.tracked === undefined ? "to count the connections" : `to see ${live.tracked} connections end that`;
    return [
      {
        node: trackerNode,
        what: `${seen} of ${node}${live.tracked === undefined ? "" : " no longer has"}`,
        kind: "tracker",
      },
    ];
  }
  const quietMs = context.now.monotonicMs - (live.quiet?.sinceMs ?? context.now.monotonicMs);
  if (quietMs >= record.policy.lingerMs) return [];
  return [{ node, what: `to stay without connections for ${record.policy.lingerMs / 1000} s`, kind: "node" }];
}

function openConnections(state: RemapState, open: number, cut: boolean, context: Context): string {
  const what = cut ? `to reset ${open} connections` : `to finish ${open} connections`;
  if (!isDue(state, context) || cut) return what;
  return state.record.policy.onDeadline === "keep"
    ? `${what}, past the deadline: release or cut it`
    : `${what}, past the deadline`;
}

function isDue({ record }: RemapState, { now }: Context): boolean {
  const { deadlineMs } = record.policy;
  return deadlineMs !== undefined && now.wallMs - (record.phaseAtMs.draining ?? now.wallMs) >= deadlineMs;
}

/** The linger begins when the last of the three witnesses says zero. */
export function noteCount(state: Draining, event: EventOf<"counted">, { now }: Context): Step {
  const { quiet, tracked } = state.live;
  const late = event.flows === 0 && tracked !== 0 && quiet !== undefined;
  return stay(amend(state, { tracked: event.flows, ...(late && { quiet: { ...quiet, sinceMs: now.monotonicMs } }) }));
}

export function cutDraining(state: Draining, _event: EventOf<"cut">, context: Context): Step {
  if (state.record.phase.cut) return stay(state);
  return enter(state, { kind: "draining", cut: true }, context);
}

export function releaseDraining(state: Draining, _event: EventOf<"release">, context: Context): Step {
  if (state.record.policy.onDeadline !== "keep" || !isDue(state, context)) {
    const how = "release is for a drain past its deadline with policy keep; use cut to end it now";
    return refused(state, "WRONG_PHASE", how);
  }
  const { flows } = state.live;
  const lost = amend(state, { flows: withClosed({ ...flows, lost: flows.lost + flows.remaining, remaining: 0 }) });
  return enter(lost, { kind: "finalizing", outcome: endOutcome(state) }, context);
}

export function moveDeadline(state: Draining, event: EventOf<"deadline">, context: Context): Step {
  const { deadlineMs: _before, ...policy } = state.record.policy;
  if (event.deadlineMs === undefined) return enter(state, state.record.phase, context, { policy });
  const begun = state.record.phaseAtMs.draining ?? context.now.wallMs;
  const deadlineMs = context.now.wallMs - begun + event.deadlineMs;
  return enter(state, state.record.phase, context, { policy: { ...policy, deadlineMs } });
}

export function observeFinalizing(state: StateIn<"finalizing">, _event: EventOf<"observed">, context: Context): Step {
  const { record } = state;
  const waits: Wait[] = removalWaits(state, context.view, "everyone");
  const alone =
    !context.view.later.exists && predecessors(context.view.chain, record.target, record.target).length === 0;
  const owns = alone && record.policy.follow && !state.live.ownershipPublished;
  if (owns && waits.length === 0)
    waits.push({
      node: trackerNode,
      what: `to hear that ${record.address} is ${record.target}'s alone`,
      kind: "tracker",
    });
  const waiting = awaiting(noteTrouble(state, context), waits, context);
  if (waits.length > 0)
    return stay(waiting, owns && waits.length === 1 && waits[0]?.kind === "tracker" ? [{ kind: "own" }] : []);
  return enter(waiting, { kind: "completed", outcome: record.phase.outcome }, context);
}
