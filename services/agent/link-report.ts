/** What the kernel has counted for a link, as the coordinator is told. */
import { counterName } from "../../src/dataplane/names.ts";
import type { Link } from "../../src/node/state.ts";
import type { LinkReport } from "../../src/node/status.ts";
import type { KernelState } from "./kernel-state.ts";

export function linkReport(link: Link, counters: ReturnType<KernelState["counters"]>, probesSent: bigint): LinkReport {
  const read = (kind: Parameters<typeof counterName>[0]) =>
    counters.get(counterName(kind, link.id)) ?? { packets: 0n, bytes: 0n };
  const followed = read("followed");
  const returned = read("returned");
  return {
    id: link.id,
    followedPackets: followed.packets,
    followedBytes: followed.bytes,
    returnedPackets: returned.packets,
    returnedBytes: returned.bytes,
    unknownPackets: read("unknown").packets,
    refusedPackets: read("refused").packets,
    superseded: read("superseded").packets,
    probesSent,
    probesAnswered: read("answered").packets,
  };
}
