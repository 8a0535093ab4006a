/** What the demo shows: the connections it opens, and all that is known at a moment. Pure. */
import type { KindSummary, OpenCommand, Visit } from "../../test/traffic/protocol.ts";
import type { RemapJson } from "./demo-baton.ts";
import type { CardCounts } from "./demo-watch.ts";

export const publicAddress = "203.0.113.10";
export const oldServer = "vm-a";
export const newServer = "vm-b";
export const clientHost = "client1";

/** Connections that are open at the switch, and those of the same kinds that are opened after it. */
export const groups = { old: "before", fresh: "after" } as const;

const rateBytes = 2_000_000;
const pushMs = 20;

type Cast = Omit<OpenCommand, "do" | "group" | "to" | "count">;

interface Act {
  readonly title: string;
  readonly before: number;
  readonly after: number;
  readonly open: Cast;
}

/** In the order of the table. UDP is not among them yet. */
export const acts: readonly Act[] = [
  { title: "TCP push every 20 ms", before: 40, after: 4, open: { kind: "push", intervalMs: pushMs } },
  { title: "WebSocket push every 20 ms", before: 40, after: 4, open: { kind: "websocket", intervalMs: pushMs } },
  { title: "HTTP keep-alive download", before: 8, after: 2, open: { kind: "download", bytesPerSecond: rateBytes } },
  { title: "TCP upload", before: 4, after: 2, open: { kind: "upload", bytesPerSecond: rateBytes } },
  { title: "TCP idle", before: 20, after: 2, open: { kind: "echo" } },
];

export const visitEveryMs = 50;

export function titleOf(kind: string): string {
  return acts.find((act) => act.open.kind === kind)?.title ?? kind;
}

/** All that is known at a moment. */
export interface Scene {
  readonly elapsedMs: number;
  readonly kinds: readonly KindSummary[];
  readonly visits: readonly Visit[];
  readonly remap?: RemapJson;
  readonly card?: CardCounts;
}

export function countOfVisits(visits: readonly Visit[], server: string): number {
  return visits.filter((visit) => visit.server === server).length;
}

/** What is not as it should have been; empty: every connection that was to be kept was kept. */
export function faultsOf(scene: Scene): string[] {
  return [
    ...scene.kinds.flatMap(kindFaults),
    ...visitFaults(scene),
    ...(scene.card === undefined ? [] : cardFaults(scene.card)),
    ...remapFaults(scene.remap),
  ];
}

function kindFaults(kind: KindSummary): string[] {
  const title = `${titleOf(kind.kind)} (${kind.group} the switch)`;
  const expected = kind.group === groups.old ? oldServer : newServer;
  const faults = Object.entries(kind.failures).map(([failure, count]) => `${title}: ${count} failed: ${failure}`);
  if ((kind.states.closed ?? 0) !== kind.count) faults.push(`${title}: not all ended in order: ${counts(kind.states)}`);
  if (kind.servers[expected] !== kind.count) faults.push(`${title}: not all at ${expected}: ${counts(kind.servers)}`);
  return faults;
}

/** Once one has reached the new server, none that was opened later may reach the old one. */
function visitFaults(scene: Scene): string[] {
  const visits = [...scene.visits].sort((a, b) => a.atMs - b.atMs);
  const failed = visits.filter((visit) => visit.server === undefined);
  const first = visits.findIndex((visit) => visit.server === newServer);
  const faults = failed.slice(0, 3).map((visit) => `short HTTP: ${visit.failure}`);
  if (first < 0) faults.push(`short HTTP: none reached ${newServer}`);
  const late = first < 0 ? 0 : countOfVisits(visits.slice(first), oldServer);
  if (late > 0) faults.push(`short HTTP: ${late} reached ${oldServer} after one had reached ${newServer}`);
  return faults;
}

function cardFaults(card: CardCounts): string[] {
  const faults: string[] = [];
  if (card.privateSource > 0) faults.push(`${card.privateSource} packets with a private source came to the client`);
  if (card.resets > 0) faults.push(`${card.resets} resets came to the client`);
  return faults;
}

function remapFaults(remap: RemapJson | undefined): string[] {
  if (remap === undefined) return ["there was no remap"];
  if (remap.phase === "completed" && remap.outcome === "completed") return [];
  return [`the remap is ${remap.phase}${remap.error === undefined ? "" : `: ${remap.error.message}`}`];
}

function counts(of: Readonly<Partial<Record<string, number>>>): string {
  return Object.entries(of)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ");
}
