/** The demo's scenes as lines of text. Pure. */
import { styleText } from "node:util";
import type { KindSummary } from "../../test/traffic/protocol.ts";
import type { RemapJson } from "./demo-baton.ts";
import { countOfVisits, groups, newServer, oldServer, type Scene, titleOf } from "./demo-scene.ts";

export type Paint = (style: "bold" | "dim" | "green" | "red" | "cyan", text: string) => string;

export const plain: Paint = (_style, text) => text;
export const coloured: Paint = (style, text) => styleText(style, text, { validateStream: false });

const phases = ["preparing", "arming", "switching", "draining", "finalizing", "completed"];

/** What is redrawn while the remap goes on. */
export function liveLines(scene: Scene, paint: Paint): string[] {
  return [
    "",
    phaseLine(scene.remap?.phase, paint),
    "",
    paint("dim", row(["connections", "server", "open", "closed", "broken", "messages", "silence"])),
    ...scene.kinds.map((kind) => kindRow(kind, paint)),
    visitLine(scene, paint),
    "",
    drainLine(scene),
  ];
}

/** One line for logs, where nothing can be redrawn. */
export function progressLine(scene: Scene): string {
  const old = sum(scene.kinds.filter((kind) => kind.group === groups.old));
  const fresh = sum(scene.kinds.filter((kind) => kind.group === groups.fresh));
  const parts = [
    `${seconds(scene.elapsedMs).padStart(6)}  ${(scene.remap?.phase ?? "before").padEnd(10)}`,
    `old ${old.open} open at ${oldServer}, ${old.failed} broken`,
    ...(fresh.count === 0 ? [] : [`new ${fresh.open} open at ${newServer}`]),
    `short HTTP ${countOfVisits(scene.visits, oldServer)} ${oldServer} / ${countOfVisits(scene.visits, newServer)} ${newServer}`,
  ];
  return parts.join("  |  ");
}

export function reportLines(scene: Scene, faults: readonly string[], paint: Paint): string[] {
  const { remap, card } = scene;
  return [
    "",
    paint("bold", "What each connection saw"),
    paint(
      "dim",
      reportRow(["connections", "opened", "count", "server", "whole", "broken", "bytes checked", "silence"]),
    ),
    ...scene.kinds.map((kind) => reportRow(kindCells(kind))),
    reportRow(visitCells(scene)),
    "",
    ...(remap === undefined ? [] : remapLines(remap, paint)),
    ...(card === undefined
      ? []
      : [`At the client's card  ${card.privateSource} packets with a private source, ${card.resets} resets`]),
    "",
    ...verdictLines(faults, paint),
  ];
}

function verdictLines(faults: readonly string[], paint: Paint): string[] {
  if (faults.length > 0) return [paint("red", "NOT KEPT"), ...faults.map((fault) => `  ${fault}`)];
  return [paint("green", "KEPT: every connection that was open at the switch went on, byte by byte, to its own end.")];
}

function remapLines(remap: RemapJson, paint: Paint): string[] {
  const { flows, followed, channel } = remap;
  const when = phases.filter((phase) => remap.phaseAt[phase] !== undefined);
  const durations = when.slice(0, -1).map((phase, index) => {
    const ms = Date.parse(remap.phaseAt[when[index + 1] ?? ""] ?? "") - Date.parse(remap.phaseAt[phase] ?? "");
    return `${phase} ${duration(ms)}`;
  });
  return [
    paint("bold", `What baton says of remap ${remap.id}`),
    `  ${remap.address}  from ${remap.source} (${remap.sourcePrivate}) to ${remap.target} (${remap.targetPrivate})`,
    `  outcome   ${remap.outcome ?? remap.phase}`,
    ...(channel === undefined
      ? []
      : [`  channel   ${channel.kind}, proven with packets of ${channel.provenMtu} bytes`]),
    ...(remap.switchMs === undefined ? [] : [`  switch    ${remap.switchMs} ms from the first flip to the last node`]),
    `  phases    ${durations.join(", ")}`,
    `  flows     ${flows.atSwitch} at the switch, ${flows.closed} closed by themselves, ${flows.lost} lost, ${flows.cut} cut`,
    `  followed  ${followed.packets} packets, ${bytes(followed.bytes)}`,
    "",
  ];
}

function phaseLine(current: string | undefined, paint: Paint): string {
  const at = current === "completed" ? phases.length : phases.indexOf(current ?? "");
  const words = phases.map((phase, index) => {
    if (index < at) return paint("green", `✔ ${phase}`);
    return index === at ? paint("bold", `▶ ${phase}`) : paint("dim", `· ${phase}`);
  });
  return `  ${words.join("   ")}`;
}

function drainLine(scene: Scene): string {
  const { remap } = scene;
  if (remap === undefined) return "";
  const waiting = remap.waitingFor.map((entry) => `${entry.node}: ${entry.what}`).join("; ");
  const followed = `followed ${remap.followed.packets} packets, ${bytes(remap.followed.bytes)}`;
  const flows = `${remap.flows.remaining} of ${remap.flows.atSwitch} old flows left`;
  return `  ${flows}, ${followed}${waiting === "" ? "" : `  waiting for ${waiting}`}`;
}

function kindRow(kind: KindSummary, paint: Paint): string {
  const { open, closed, failed } = stateCounts(kind);
  const server = Object.keys(kind.servers).join(" ");
  const title = kind.group === groups.old ? titleOf(kind.kind) : `${titleOf(kind.kind)}, new`;
  const cells = [title, server, open, closed, failed, kind.messages, `${Math.round(kind.longestSilenceMs)} ms`];
  return paint(failed > 0 ? "red" : server === newServer ? "cyan" : "bold", row(cells.map(String)));
}

function visitLine(scene: Scene, paint: Paint): string {
  const [atOld, atNew] = [oldServer, newServer].map((server) => countOfVisits(scene.visits, server));
  const latest = scene.visits.at(-1)?.server ?? "";
  const broken = scene.visits.length - (atOld ?? 0) - (atNew ?? 0);
  const cells = ["short HTTP, one after another", latest, "", scene.visits.length - broken, broken, "", ""];
  const line = row(cells.map(String));
  return paint(latest === newServer ? "cyan" : "bold", `${line}   ${atOld} ${oldServer}, ${atNew} ${newServer}`);
}

function kindCells(kind: KindSummary): string[] {
  const { closed, failed } = stateCounts(kind);
  const servers = Object.entries(kind.servers).map(([name, count]) =>
    count === kind.count ? name : `${count} ${name}`,
  );
  const opened = `${kind.group} the switch`;
  const cells = [titleOf(kind.kind), opened, kind.count, servers.join(" "), closed, failed, bytes(kind.bytes)];
  return [...cells.map(String), `${Math.round(kind.longestSilenceMs)} ms`];
}

function visitCells(scene: Scene): string[] {
  const [atOld, atNew] = [oldServer, newServer].map((server) => countOfVisits(scene.visits, server));
  const broken = scene.visits.filter((visit) => visit.server === undefined).length;
  const whole = scene.visits.length - broken;
  const servers = `${oldServer} ${atOld}, ${newServer} ${atNew}`;
  return ["short HTTP", "all along", scene.visits.length, servers, whole, broken, "", ""].map(String);
}

function stateCounts(kind: KindSummary): { open: number; closed: number; failed: number } {
  const { open = 0, closing = 0, closed = 0, failed = 0 } = kind.states;
  return { open: open + closing, closed, failed };
}

function sum(kinds: readonly KindSummary[]): { open: number; failed: number; count: number } {
  const of = (pick: (kind: KindSummary) => number) => kinds.reduce((total, kind) => total + pick(kind), 0);
  return {
    open: of((kind) => stateCounts(kind).open),
    failed: of((kind) => stateCounts(kind).failed),
    count: of((kind) => kind.count),
  };
}

const liveWidths = [34, 8, 6, 8, 8, 10, 10];
const reportWidths = [28, 19, 7, 22, 7, 8, 15, 9];

function row(cells: readonly string[]): string {
  return columns(cells, liveWidths, 2);
}

function reportRow(cells: readonly string[]): string {
  return columns(cells, reportWidths, 2);
}

/** Words to the left, numbers to the right. */
function columns(cells: readonly string[], widths: readonly number[], indent: number): string {
  const padded = cells.map((cell, index) => {
    const width = widths[index] ?? cell.length;
    return /^\d/.test(cell) || numericHeads.has(cell) ? cell.padStart(width - 1).padEnd(width) : cell.padEnd(width);
  });
  return `${" ".repeat(indent)}${padded.join("")}`.trimEnd();
}

const numericHeads = new Set(["open", "closed", "broken", "messages", "silence", "count", "whole", "bytes checked"]);

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function duration(ms: number): string {
  return ms < 1000 ? `${ms} ms` : seconds(ms);
}

function bytes(count: number): string {
  if (count < 1e6) return `${(count / 1e3).toFixed(1)} kB`;
  return count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(2)} GB`;
}
