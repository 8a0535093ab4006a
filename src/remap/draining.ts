/**
 * Draining: the source's connections end by themselves, or are ended. finalizing.ts then removes what the remap had set up.
 *
 * A drain is believed when three witnesses agree for `lingerMs`: the source's kernel, the trackers, and the
 * channel's counters, which count owner-confirmed connections only. A source that answers by itself sends nothing
 * through the channel, so what it sends is counted at its own end.
 */

import type { DrainReport } from "../node/status.ts";
import { trackerNode, translationWaits } from "./checklist.ts";
import { drainReportOf, followingLink, linkReportOf, measure, ownerReportOf, withClosed } from "./figures.ts";
import { deadlineRefusal } from "./policy.ts";
import type { RemapState, Wait } from "./record.ts";
import { answersDirectly } from "./return-path.ts";
import { absenceText, lossOf, noteSilence } from "./source-loss.ts";
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
  const { later } = context.view;
  if (later.home) {
    if (later.settled) return enter(state, { kind: "finalizing", outcome: endOutcome(state) }, context);
    return stay(awaiting(state, [{ node: later.holder, what: "to take the address over", kind: "node" }], context));
  }
  if (state.record.phase.retiring === true) return observeRetiring(state, context);
  const watched = noteSilence(state, context);
  const loss = lossOf(watched, context);
  if (loss !== undefined) return lose(watched, loss, context);
  // Whoever leads when a silent source turns out to be lost has to know what it said last.
  const unsaved = state.live.flows.remaining !== state.record.flows.remaining;
  if (unsaved && watched.live.silence !== undefined) return enter(watched, state.record.phase, context);
  const measured = noteTrouble(measure(watched, context), context);
  if (isDue(state, context) && state.record.policy.onDeadline === "cut" && !state.record.phase.cut)
    return enter(measured, { kind: "draining", cut: true }, context);
  const looked = lookForQuiet(measured, context);
  const waits = drainWaits(looked, state.record.phase.cut, context);
  if (waits.length === 0)
    return answersDirectly(state.record)
      ? beginRetiring(looked, state.record.phase.cut, context)
      : finish(looked, context);
  const ask = looked.live.quiet !== undefined && looked.live.tracked !== 0 && !state.record.phase.cut;
  return stay(awaiting(looked, waits, context), ask ? [{ kind: "count" }] : []);
}

function lose(state: RemapState, why: string, context: Context): Step {
  const remarks = [...(state.record.remarks ?? []), why];
  return enter(letGo(state), { kind: "finalizing", outcome: "source-lost" }, context, { remarks });
}

/** What remains is lost. */
function letGo(state: RemapState): RemapState {
  const { flows } = state.live;
  return amend(state, { flows: withClosed({ ...flows, lost: flows.lost + flows.remaining, remaining: 0 }) });
}

/** Nothing of the source's is left to be translated: now, and not before, the gateways let go of it (O4). */
function beginRetiring(state: RemapState, cut: boolean, context: Context): Step {
  return enter(state, { kind: "draining", cut, retiring: true }, context);
}

/** A connection that has come up at the source all the same, by a cookie that it gave out before, is drained first. */
function observeRetiring(state: Draining, context: Context): Step {
  const { cut } = state.record.phase;
  if ((openOf(drainReportOf(state, context), cut) ?? 0) > 0) return enter(state, { kind: "draining", cut }, context);
  const troubled = noteTrouble(measure(state, context), context);
  const waiting = awaiting(troubled, translationWaits(state, context.view), context);
  return waiting.live.waits.length > 0 ? stay(waiting) : finish(waiting, context);
}

/** Connections that the source's kernel can't reset count as cut, and it is said what that means for them. */
function finish(state: RemapState, context: Context): Step {
  const phase = { kind: "finalizing", outcome: endOutcome(state) } as const;
  const left = drainReportOf(state, context)?.open ?? 0;
  if (left === 0) return enter(state, phase, context);
  const { flows } = state.live;
  const cut = amend(state, { flows: withClosed({ ...flows, cut: flows.cut + left, remaining: 0 }) });
  const { source, target } = state.record;
  const remark = `the kernel of ${source} can't reset ${left} of the connections: ${target} resets them at their next packet`;
  return enter(cut, phase, context, { remarks: [...(state.record.remarks ?? []), remark] });
}

function endOutcome(state: RemapState): "cut" | "completed" {
  return isCutting(state) || state.live.flows.cut > 0 ? "cut" : "completed";
}

/** Notes since when the source has no connection left and nothing moves in the channel. */
function lookForQuiet<S extends RemapState>(state: S, context: Context): S {
  const { view, now } = context;
  const open = openOf(drainReportOf(state, context), isCutting(state));
  const { quiet, tracked: _asked, ...live } = state.live;
  if (open !== 0 || isUncounted(state, context)) return { ...state, live };
  const report = linkReportOf(state, view);
  const returned = answersDirectly(state.record) ? ownerReportOf(state, view) : report;
  const counters =
    isCutting(state) || report === undefined ? "" : `${report.followedPackets} ${returned?.returnedPackets ?? 0n}`;
  if (quiet?.counters === counters) return state;
  const { tracked } = state.live;
  const since = { sinceMs: now.monotonicMs, counters };
  return { ...state, live: { ...live, quiet: since, ...(tracked !== undefined && { tracked }) } };
}

/** The follower does not say what passes its channel: silence that nobody hears proves nothing (invariant R4). */
function isUncounted(state: RemapState, { view }: Context): boolean {
  return !isCutting(state) && followingLink(state, view) !== undefined && linkReportOf(state, view) === undefined;
}

function isCutting({ record }: RemapState): boolean {
  return record.phase.kind === "draining" && record.phase.cut;
}

/** Connections that have to end yet; a cut does not wait for those that the kernel can't reset. */
function openOf(drain: DrainReport | undefined, cut: boolean): number | undefined {
  return drain === undefined ? undefined : drain.open - (cut ? (drain.unresettable ?? 0) : 0);
}

function drainWaits(state: RemapState, cut: boolean, context: Context): readonly Wait[] {
  const { record, live } = state;
  const drain = drainReportOf(state, context);
  const node = record.source;
  if (drain === undefined) {
    const away = context.view.world.agents.get(node)?.connected === true ? "" : absenceText(state, context);
    return [{ node, what: `to report its open connections${away}`, kind: "node" }];
  }
  if (openOf(drain, cut) !== 0) return [{ node, what: openConnections(state, drain.open, cut, context), kind: "node" }];
  if (isUncounted(state, context)) {
    const { holder } = context.view.later;
    const away = context.view.world.agents.get(holder)?.connected === true ? "" : "; it is not connected";
    return [{ node: holder, what: `to report what passes the channel to ${node}${away}`, kind: "node" }];
  }
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
  if (state.record.phase.cut || state.record.phase.retiring === true) return stay(state);
  return enter(state, { kind: "draining", cut: true }, context);
}

export function releaseDraining(state: Draining, _event: EventOf<"release">, context: Context): Step {
  if (state.record.policy.onDeadline !== "keep" || !isDue(state, context)) {
    const how = "release is for a drain past its deadline with policy keep; use cut to end it now";
    return refused(state, "WRONG_PHASE", how);
  }
  return enter(letGo(state), { kind: "finalizing", outcome: endOutcome(state), released: true }, context);
}

export function moveDeadline(state: Draining, event: EventOf<"deadline">, context: Context): Step {
  const refusal = deadlineRefusal(event.deadlineMs);
  if (refusal !== undefined) return refused(state, refusal.code, refusal.message);
  if (state.record.phase.cut) return refused(state, "WRONG_PHASE", "what is left is being reset already");
  const { deadlineMs: _before, ...policy } = state.record.policy;
  if (event.deadlineMs === undefined) return enter(state, state.record.phase, context, { policy });
  const begun = state.record.phaseAtMs.draining ?? context.now.wallMs;
  const deadlineMs = context.now.wallMs - begun + event.deadlineMs;
  return enter(state, state.record.phase, context, { policy: { ...policy, deadlineMs } });
}
