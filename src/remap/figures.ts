/** What is measured of a remap's connections and their traffic. Nothing is estimated: what is not reported keeps its last value. */
import type { DrainReport, LinkReport } from "../node/status.ts";
import type { LinkTraffic, RemapState, RunCounts } from "./record.ts";
import type { RemapFlows } from "./remap.ts";
import type { Context } from "./transition.ts";

/** Runs of agents whose counts are kept; with more, the oldest are forgotten. */
const runsMax = 100;

/** What the source says of its connections, if it can be heard. */
export function drainReportOf(state: RemapState, { view }: Pick<Context, "view">): DrainReport | undefined {
  const { source, address, sourceGeneration } = state.record;
  const agent = view.world.agents.get(source);
  if (agent?.connected !== true) return undefined;
  return agent.status.drains.find((drain) => drain.address === address && drain.generation === sourceGeneration);
}

export function measure<S extends RemapState>(state: S, { view }: Pick<Context, "view">): S {
  const { live } = state;
  const drain = drainReportOf(state, { view });
  const traffic = trafficOf(state, view);
  const counts = countsOf(state, drain, view);
  const sum = (kind: "cut" | "superseded" | "opened") => counts.reduce((total, count) => total + count[kind], 0);
  const figures = {
    // An agent that restarts takes those for all that are open then; the first count is the one of the switch.
    atSwitch: Math.max(drain?.atSwitch ?? 0, live.flows.atSwitch),
    remaining: drain?.open ?? live.flows.remaining,
    superseded: sum("superseded") + traffic.reduce((total, link) => total + link.superseded, 0),
    cut: sum("cut"),
    lost: live.flows.lost,
    newAtTarget: sum("opened"),
  };
  return withSilence({ ...state, live: { ...live, traffic, counts, flows: withClosed(figures) } }, drain);
}

function withSilence<S extends RemapState>(state: S, drain: DrainReport | undefined): S {
  const longestSilenceMs = drain?.longestSilenceMs;
  if (longestSilenceMs === undefined || state.record.longestSilenceMs === longestSilenceMs) return state;
  return { ...state, record: { ...state.record, longestSilenceMs } };
}

/** Agents count from their start on: what an earlier run of one had counted is kept beside. */
function countsOf(
  { record, live }: RemapState,
  drain: DrainReport | undefined,
  { world }: Context["view"],
): readonly RunCounts[] {
  const target = world.agents.get(record.target);
  const opened = target?.status.drains.find(
    ({ address, generation }) => address === record.address && generation === record.generation,
  );
  const runs = [
    { node: record.source, boot: world.agents.get(record.source)?.hello?.boot, report: drain },
    { node: record.target, boot: target?.hello?.boot, report: opened },
  ];
  return runs.reduce<readonly RunCounts[]>((counts, { node, boot, report }) => {
    if (report === undefined || boot === undefined) return counts;
    const mine = (count: RunCounts) => count.node === node && count.boot === boot;
    const own = { cut: 0, superseded: 0, opened: 0, ...counts.find(mine), node, boot };
    const now =
      node === record.source
        ? { ...own, cut: report.cut, superseded: report.superseded ?? 0 }
        : { ...own, opened: report.opened };
    return [...counts.filter((count) => !mine(count)), now].slice(-runsMax);
  }, live.counts);
}

export function withClosed(figures: Omit<RemapFlows, "closed">): RemapFlows {
  const { atSwitch, remaining, superseded, cut, lost } = figures;
  return { ...figures, closed: Math.max(0, atSwitch - remaining - superseded - cut - lost) };
}

function trafficOf(state: RemapState, view: Context["view"]): readonly LinkTraffic[] {
  const report = linkReportOf(state, view);
  if (report === undefined) return state.live.traffic;
  const { followedPackets: packets, followedBytes: bytes } = report;
  const link = report.id;
  const other = state.live.traffic.filter((entry) => entry.link !== link);
  return [...other, { link, packets, bytes, superseded: Number(report.superseded) }];
}

/** Counters of the link by which the source's connections are followed now, at the follower's end. */
export function linkReportOf(state: RemapState, view: Context["view"]): LinkReport | undefined {
  return linkReportAt(view.later.holder, state, view);
}

/** Of the same link, at the source's end. */
export function ownerReportOf(state: RemapState, view: Context["view"]): LinkReport | undefined {
  return linkReportAt(state.record.source, state, view);
}

function linkReportAt(instance: string, { record }: RemapState, view: Context["view"]): LinkReport | undefined {
  const link = view.later.link ?? record.owners.find(({ owner }) => owner === record.source);
  return view.world.agents.get(instance)?.status.links.find(({ id }) => id === link?.link);
}
