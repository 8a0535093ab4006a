/**
 * Finalizing: nothing of the remap is left behind; then, where the policy says so, the source is taken offline.
 *
 * The command that does it may end the very host that would tell of it. So what came of it is waited for while the
 * source can be heard, and for {@link unheardMs} more; a remap never hangs on it.
 */

import type { HostingReport, OfflineReport } from "../node/status.ts";
import { predecessors } from "./chain.ts";
import { removalWaits, sourceRemovalWaits, trackerNode } from "./checklist.ts";
import type { RemapState, Wait } from "./record.ts";
import { noteTrouble } from "./switching.ts";
import { awaiting, type Context, type EventOf, enter, type StateIn, type Step, stay } from "./transition.ts";
import type { AgentFacts } from "./world.ts";

/** A source that is gone for so long won't tell any more. */
const unheardMs = 15_000;
/** Of the shards that are waited for, by number. */
const shardsToldMax = 8;

type Finalizing = StateIn<"finalizing">;

export function observeFinalizing(state: Finalizing, _event: EventOf<"observed">, context: Context): Step {
  const present = noteAbsence(state, context);
  return state.record.phase.offline === true ? takeOffline(present, context) : removeAll(present, context);
}

function removeAll(state: Finalizing, context: Context): Step {
  const { record } = state;
  const waits: Wait[] = [...removalWaits(state, context.view, "everyone"), ...sourceRemovalWaits(state, context.view)];
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
  return record.policy.offlineSource
    ? beginOffline(waiting, record.phase.outcome, context)
    : complete(waiting, record.phase.outcome, context);
}

/**
 * What else lives at the source goes first: addresses that it holds, connections that it still serves for others, and
 * shards of the flow table whose tracker it hosts (by `vacate` of projection.ts).
 */
function beginOffline(state: RemapState, outcome: Finalizing["record"]["phase"]["outcome"], context: Context): Step {
  const { source, address } = state.record;
  const { world, later } = context.view;
  const agent = world.agents.get(source);
  if (agent === undefined) return complete(state, outcome, context, notRun(`${source} was given up`));
  if (outcome === "source-lost") return complete(state, outcome, context, notRun(`${source} was lost`));
  if (later.home || later.returning) return complete(state, outcome, context, notRun(`${address} went back to it`));
  const waits = [...addressWaits(agent), ...shardWaits(agent)];
  if (waits.length === 0) return enter(state, { kind: "finalizing", outcome, offline: true }, context);
  const waiting = awaiting(state, waits, context);
  const awayMs = absenceMs(waiting, context);
  return awayMs >= unheardMs ? complete(waiting, outcome, context, unheard(source)) : stay(waiting);
}

function addressWaits({ name: node, applied }: AgentFacts): Wait[] {
  const held = applied?.addresses ?? [];
  if (applied !== undefined && held.length === 0 && applied.links.length === 0) return [];
  const names = held.map((entry) => entry.address).join(", ");
  const what = names === "" ? "to report what it has" : `to hand over ${names}, before it is taken offline`;
  return [{ node, what, kind: "node" }];
}

function shardWaits({ name: node, applied, status: { hosting } }: AgentFacts): Wait[] {
  if (hosting === undefined || (applied?.vacate === true && hosting.vacated)) return [];
  return [{ node, what: `${shardsText(hosting)}, before it is taken offline`, kind: "tracker" }];
}

function shardsText({ shards, takers }: HostingReport): string {
  if (shards.length === 0) return "to tell that its tracker gets no more shards";
  const more = shards.length > shardsToldMax ? ` and ${shards.length - shardsToldMax} more` : "";
  const what = `to give its tracker's shards ${shards.slice(0, shardsToldMax).join(", ")}${more} away`;
  return takers > 0 ? what : `${what} (no other tracker takes shards: start one, or set hosting to ready at one)`;
}

function takeOffline(state: Finalizing, context: Context): Step {
  const { id, source, phase } = state.record;
  const agent = context.view.world.agents.get(source);
  const report = agent?.status.hooks?.find((hook) => hook.id === id);
  if (report !== undefined)
    return complete(state, phase.outcome, context, { outcome: report.outcome, message: report.message });
  const gone = agent === undefined || absenceMs(state, context) >= unheardMs;
  if (gone) return complete(state, phase.outcome, context, unheard(source));
  const away = agent.connected ? "" : "; it is not connected";
  const what = `to say what came of taking it offline${away}`;
  return stay(awaiting(noteTrouble(state, context), [{ node: source, what, kind: "node" }], context));
}

function complete(
  state: RemapState,
  outcome: Finalizing["record"]["phase"]["outcome"],
  context: Context,
  offline?: OfflineReport,
): Step {
  return enter(state, { kind: "completed", outcome }, context, offline === undefined ? {} : { offline });
}

function noteAbsence<S extends RemapState>(state: S, { view, now }: Context): S {
  const away = view.world.agents.get(state.record.source)?.connected !== true;
  if (away === (state.live.awaySinceMs !== undefined)) return state;
  const { awaySinceMs: _since, ...live } = state.live;
  return { ...state, live: away ? { ...live, awaySinceMs: now.monotonicMs } : live };
}

function absenceMs({ live }: RemapState, { now }: Context): number {
  return live.awaySinceMs === undefined ? 0 : now.monotonicMs - live.awaySinceMs;
}

function notRun(why: string): OfflineReport {
  return { outcome: "not-run", message: `not run: ${why}` };
}

function unheard(source: string): OfflineReport {
  return { outcome: "unheard", message: `the agent of ${source} went away before it told what came of it` };
}
