/** What is measured of a remap's connections and their traffic. Nothing is estimated: what is not reported keeps its last value. */
import type { DrainReport, LinkReport } from "../node/status.ts";
import type { LinkTraffic, RemapState } from "./record.ts";
import type { RemapFlows } from "./remap.ts";
import type { Context } from "./transition.ts";

/** What the source says of its connections, if it can be heard. */
export function drainReportOf(state: RemapState, { view }: Pick<Context, "view">): DrainReport | undefined {
  const { source, address, sourceGeneration } = state.record;
  const agent = view.world.agents.get(source);
  if (agent?.connected !== true) return undefined;
  return agent.status.drains.find((drain) => drain.address === address && drain.generation === sourceGeneration);
}

export function measure<S extends RemapState>(state: S, { view }: Pick<Context, "view">): S {
  const { record, live } = state;
  const drain = drainReportOf(state, { view });
  const traffic = trafficOf(state, view);
  const superseded = traffic.reduce((sum, link) => sum + link.superseded, 0);
  const target = view.world.agents.get(record.target)?.status.drains;
  const opened = target?.find((report) => report.address === record.address && report.generation === record.generation);
  const figures = {
    atSwitch: drain?.atSwitch ?? live.flows.atSwitch,
    remaining: drain?.open ?? live.flows.remaining,
    superseded,
    cut: drain?.cut ?? live.flows.cut,
    lost: live.flows.lost,
    newAtTarget: opened?.opened ?? live.flows.newAtTarget,
  };
  return { ...state, live: { ...live, traffic, flows: withClosed(figures) } };
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
export function linkReportOf({ record }: RemapState, view: Context["view"]): LinkReport | undefined {
  const link = view.later.link ?? record.owners.find(({ owner }) => owner === record.source);
  return view.world.agents.get(view.later.holder)?.status.links.find(({ id }) => id === link?.link);
}
