/** What `baton doctor` found: as a table, and as JSON. */
import type { Json } from "../../../src/remap/report.ts";
import type { CheckResult, CheckState } from "../doctor/check.ts";
import { table } from "./table.ts";
import { type Line, type Paint, paint } from "./text.ts";

const statePaint: Record<CheckState, Paint> = { ok: "green", limited: "yellow", failed: "red", unknown: "yellow" };

export function checkJson({ name, state, found, next }: CheckResult): Json {
  return { name, state, found, ...(next !== undefined && { next }) };
}

/** Findings, then what to do about them. */
export function checkTable(results: readonly CheckResult[]): Line[] {
  const rows = results.map(({ name, state, found }) => [name, paint(state, statePaint[state]), found]);
  const advice = results.flatMap(({ name, next }) => (next === undefined ? [] : [`  ${name}: ${next}`]));
  return [
    ...table(["CHECK", "STATE", "FOUND"], rows),
    ...(advice.length > 0 ? [[""], ["Next:"], ...advice.map((line) => [line])] : []),
  ];
}
