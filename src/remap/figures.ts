/** What is measured of a remap's connections and their traffic. Nothing is estimated: what is not reported keeps its last value. */
import type { LinkId } from "../node/state.ts";
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
  const superseded = sum("superseded") + traffic.reduce((total, link) => total + link.superseded, 0);
  const [cut, lost] = [sum("cut"), live.flows.lost];
  // An agent that restarts takes those for all that are open then, so the highest count is the one of the switch. A handshake
  // of before that ends late raises it, also where no listing has seen what it led to.
  const counted = drain?.atSwitch === undefined ? 0 : Math.max(drain.atSwitch, drain.open);
  const atSwitch = Math.max(counted, live.flows.atSwitch, superseded + cut + lost);
  // A listing is older than the counters: whoever is counted as gone does not remain.
  const remaining = Math.min(drain?.open ?? live.flows.remaining, atSwitch - superseded - cut - lost);
  const figures = { atSwitch, remaining, superseded, cut, lost, newAtTarget: sum("opened") };
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

/** What was followed is counted where it was followed, what was given up where it was given up. */
function trafficOf(state: RemapState, view: Context["view"]): readonly LinkTraffic[] {
  const followed = linkReportOf(state, view);
  const owned = linkReportAt(state.record.source, state, view);
  const link = followed?.id ?? owned?.id;
  if (link === undefined) return state.live.traffic;
  const known = state.live.traffic.find((entry) => entry.link === link);
  const other = state.live.traffic.filter((entry) => entry.link !== link);
  const packets = followed?.followedPackets ?? known?.packets ?? 0n;
  const bytes = followed?.followedBytes ?? known?.bytes ?? 0n;
  return [...other, { link, packets, bytes, superseded: Number(owned?.superseded ?? known?.superseded ?? 0) }];
}

/** Counters of the link by which the source's connections are followed now, at the follower's end, if it can be heard. */
export function linkReportOf(state: RemapState, view: Context["view"]): LinkReport | undefined {
  const { holder } = view.later;
  return view.world.agents.get(holder)?.connected === true ? linkReportAt(holder, state, view) : undefined;
}

/** Of the same link, at the source's end. */
export function ownerReportOf(state: RemapState, view: Context["view"]): LinkReport | undefined {
  return linkReportAt(state.record.source, state, view);
}

function linkReportAt(node: string, state: RemapState, view: Context["view"]): LinkReport | undefined {
  return view.world.agents.get(node)?.status.links.find(({ id }) => id === followingLink(state, view));
}

/** Undefined: nobody follows the source's connections. */
export function followingLink({ record }: RemapState, { later }: Context["view"]): LinkId | undefined {
  return (later.link ?? record.owners.find(({ owner }) => owner === record.source))?.link;
}
