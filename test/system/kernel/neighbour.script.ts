/** Resolves neighbours on eth0; prints what was learnt. The other end is 10.77.0.12; nobody is 10.77.0.99. */
import { execFileSync } from "node:child_process";
import { parseIpAddress } from "../../../src/flow/address.ts";
import {
  deleteNeighbour,
  findNeighbour,
  type NeighbourKey,
  replaceNeighbour,
  resolveNeighbour,
} from "../../../src/kernel/neighbour.ts";
import { openRouteSocket } from "../../../src/kernel/rtnetlink.ts";

function key(text: string): NeighbourKey {
  const address = parseIpAddress(text);
  if (address === undefined) throw new Error(text);
  return { device: "eth0", address };
}

using socket = openRouteSocket();
const { signal } = new AbortController();
const other = key("10.77.0.12");
const nobody = key("10.77.0.99");
const fixed = { ...key("10.77.0.50"), linkAddress: "02:00:00:00:00:50" };

const before = findNeighbour(socket, other);
const resolved = await resolveNeighbour(socket, other, { signal, timeoutMs: 3_000 });
const again = await resolveNeighbour(socket, other, { signal, timeoutMs: 0 });
execFileSync("ip", ["neigh", "change", other.address, "dev", "eth0", "lladdr", "02:00:00:00:00:99", "nud", "stale"]);
const stale = findNeighbour(socket, other);
execFileSync("ip", [
  "neigh",
  "change",
  other.address,
  "dev",
  "eth0",
  "lladdr",
  resolved?.linkAddress ?? "",
  "nud",
  "stale",
]);
const refreshed = await resolveNeighbour(socket, other, { signal, timeoutMs: 3_000 });
const resolved6 = await resolveNeighbour(socket, key("fd77::12"), { signal, timeoutMs: 3_000 });
const startMs = performance.now();
const silent = await resolveNeighbour(socket, nobody, { signal, timeoutMs: 300 });
const silentMs = performance.now() - startMs;
const aborted = await resolveNeighbour(socket, nobody, { signal: AbortSignal.abort(), timeoutMs: 300 }).catch(String);
replaceNeighbour(socket, fixed);
replaceNeighbour(socket, fixed);
const permanent = await resolveNeighbour(socket, fixed, { signal, timeoutMs: 0 });
const deleted = [deleteNeighbour(socket, fixed), deleteNeighbour(socket, fixed)];

console.log(
  JSON.stringify({
    before: before ?? null,
    resolved,
    again,
    stale,
    refreshed,
    resolved6,
    silent: silent ?? null,
    silentMs,
    aborted,
    permanent,
    deleted,
  }),
);
