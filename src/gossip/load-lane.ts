/**
 * Loads of members, told beside the membership and never in its way.
 *
 * A load is a level with hysteresis that changes at most once in `loadIntervalMs`. Every ping and ack carries a fixed
 * number of reports: news first, what was told least before; where news end, loads that are known, by chance. So the
 * price is the same in every cluster, and a report that got lost is replaced sooner or later.
 */
import { loadLevels } from "./member.ts";
import { type LoadReport, loadsPerMessageMax, type PacketMessage } from "./message.ts";
import { RetransmitQueue } from "./retransmit-queue.ts";
import { type Roster, self } from "./roster.ts";
import { reportBytes } from "./size.ts";

/** No member lives to tell this often. */
const loadVersionMax = 0xffff_ffff;

/** In levels: how far a load must lie beyond a level's border to count as the next one. */
const hysteresis = 0.25;

/** Reports that wait to be told on; with more, those told most are left to chance. */
export const loadNewsMax = 256;

/** Random members that are asked for a known load for each one wanted. */
const triesPerWanted = 2;

export class LoadLane {
  readonly #roster: Roster;
  readonly #news = new RetransmitQueue<LoadReport>(loadNewsMax);
  #wanted = 0;
  #hasTold = false;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(roster: Roster) {
    this.#roster = roster;
  }

  /** When a change that had to wait may be told. */
  get nextMs(): number {
    if (!this.#hasTold || this.#wanted === this.#roster.table.load(self)) return Number.POSITIVE_INFINITY;
    return this.#toldMs + this.#roster.config.loadIntervalMs;
  }

  /** `load`: 0 to 1. */
  set(load: number, nowMs: number): void {
    this.#wanted = levelOf(load, this.#hasTold ? this.#roster.table.load(self) : undefined);
    if (this.#hasTold) this.tick(nowMs);
    else this.#change(nowMs);
  }

  tick(nowMs: number): void {
    if (nowMs >= this.nextMs) this.#change(nowMs);
  }

  hear(report: LoadReport): void {
    const { table, effects } = this.#roster;
    const slot = table.find(report.name);
    if (slot === self) this.#outdo(report);
    if (slot <= self) return;
    const before = table.load(slot);
    if (!table.setLoad(slot, report.incarnation, report.version, report.level)) return;
    this.#news.put(report.name, report, reportBytes(report));
    if (before !== report.level && table.isLive(slot))
      effects.push({ kind: "event", event: { kind: "load", member: table.member(slot) } });
  }

  /** Of us, and newer than what we have told: from before our restart. */
  #outdo(report: LoadReport): void {
    const { table } = this.#roster;
    if (!table.setLoad(self, report.incarnation, report.version, table.load(self))) return;
    if (this.#hasTold) this.#tell(table.load(self));
  }

  #change(nowMs: number): void {
    this.#toldMs = nowMs;
    this.#hasTold = true;
    this.#tell(this.#wanted);
  }

  #tell(level: number): void {
    const { table } = this.#roster;
    const { name } = this.#roster.self;
    const held = table.loadReport(self);
    const incarnation = Math.max(table.incarnation(self), held?.incarnation ?? 0);
    const version = Math.min((held?.version ?? 0) + 1, loadVersionMax);
    const report = { name, incarnation, version, level };
    table.setLoad(self, report.incarnation, report.version, report.level);
    this.#news.put(report.name, report, reportBytes(report));
  }

  /** The message for a packet that has this much room; undefined: nothing is known, or wanted. */
  message(bytesMax: number): PacketMessage | undefined {
    const count = Math.min(this.#roster.config.loadsPerPacket, loadsPerMessageMax);
    if (count === 0) return undefined;
    const reports: LoadReport[] = [];
    let bytes = this.#news.take(bytesMax, count, this.#roster.transmitLimit, reports);
    const { live } = this.#roster.table;
    for (let tries = triesPerWanted * (count - reports.length); tries > 0 && reports.length < count; tries--) {
      const slot = live[Math.floor(this.#roster.random() * live.length)];
      const report = slot === undefined ? undefined : this.#roster.table.loadReport(slot);
      if (report === undefined || reports.some(({ name }) => name === report.name)) continue;
      bytes += reportBytes(report);
      if (bytes > bytesMax) break;
      reports.push(report);
    }
    return reports.length === 0 ? undefined : { kind: "loads", reports };
  }
}

/** `current`: the level that holds so far; it is kept near its borders. */
function levelOf(load: number, current: number | undefined): number {
  const scaled = Math.min(1, Math.max(0, load)) * loadLevels;
  if (current !== undefined && scaled > current - hysteresis && scaled < current + 1 + hysteresis) return current;
  return Math.min(loadLevels - 1, Math.floor(scaled));
}
