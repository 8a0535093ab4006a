/**
 * Whether a draining remap's source is lost, and all its connections with it.
 *
 * A dead agent is not a dead host: packets of followed connections need the kernel at the source alone. So a source whose
 * agent is away counts as lost only when its kernel, which answered through the channel before, has left every probe
 * unanswered for `bounds.sourceLostMs`, and nothing else came back in that time. Whoever can't be asked gives no evidence:
 * without the holder's agent nothing is concluded. A source that comes back with another kernel has lost what it had.
 */
import { linkReportOf } from "./figures.ts";
import type { RemapState } from "./record.ts";
import type { Context } from "./transition.ts";

/** Probes that must have gone unanswered, besides the time: the holder's agent may have been asleep. */
const unansweredMin = 3n;

/** Notes since when nothing of the source was heard; nothing where its agent can be heard or nobody listens. */
export function noteSilence<S extends RemapState>(state: S, context: Context): S {
  const { silence, ...live } = state.live;
  const { world, later } = context.view;
  const report = linkReportOf(state, context.view);
  const listening = world.agents.get(later.holder)?.connected === true;
  if (world.agents.get(state.record.source)?.connected === true || !listening || report === undefined)
    return silence === undefined ? state : { ...state, live };
  const heard = `${report.id} ${report.probesAnswered} ${report.returnedPackets}`;
  // Fewer than before: another run of the holder's agent counts from its start.
  if (silence?.heard === heard && report.probesSent >= silence.probesSent) return state;
  const since = { sinceMs: context.now.monotonicMs, heard, probesSent: report.probesSent };
  return { ...state, live: { ...live, silence: since } };
}

/** Why the source is lost, for people; undefined: it is not, as far as anybody knows. */
export function lossOf(state: RemapState, context: Context): string | undefined {
  const { source, sourceKernel } = state.record;
  const agent = context.view.world.agents.get(source);
  if (agent === undefined) return `${source} was given up`;
  const kernel = agent.hello?.kernel;
  if (agent.connected && sourceKernel !== undefined && kernel !== undefined && kernel !== sourceKernel)
    return `${source} has started anew, and its connections ended with its kernel`;
  const silentMs = context.now.monotonicMs - (state.live.silence?.sinceMs ?? context.now.monotonicMs);
  if (!isSilent(state, context) || silentMs < context.bounds.sourceLostMs) return undefined;
  return `neither the agent nor the kernel of ${source} answered for ${context.bounds.sourceLostMs / 1000} s`;
}

/** What can be said of a source whose agent is not connected. */
export function absenceText(state: RemapState, context: Context): string {
  const { silence } = state.live;
  if (silence === undefined) return "; it is not connected";
  if (isSilent(state, context))
    return `; neither it nor its kernel answers, and after ${context.bounds.sourceLostMs / 1000} s of that it counts as lost`;
  return hasAnswered(state, context) ? "; it is not connected, but its kernel answers" : "; it is not connected";
}

function isSilent(state: RemapState, context: Context): boolean {
  const { silence } = state.live;
  const sent = linkReportOf(state, context.view)?.probesSent ?? 0n;
  return silence !== undefined && hasAnswered(state, context) && sent - silence.probesSent >= unansweredMin;
}

/** Where a firewall has let no answer through from the start, there being none now says nothing. */
function hasAnswered(state: RemapState, context: Context): boolean {
  return (linkReportOf(state, context.view)?.probesAnswered ?? 0n) > 0n;
}
