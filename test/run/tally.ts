/** What the suites say, put together: how many tests passed and failed, and what was left out. Pure. */

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  /** One line each, with the reason where it is known. */
  readonly leftOut: readonly string[];
}

/** The parts of vitest's JSON report that are needed here. */
export interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

/** A file that failed without a failing test of its own, because it can't be loaded or a hook failed, counts as one. */
export function tallyOf(report: VitestReport): Tally {
  const perFile = report.testResults.map((file) => {
    const count = (status: string): number => file.assertionResults.filter((test) => test.status === status).length;
    const failed = count("failed");
    const left = file.assertionResults.filter((test) => test.status !== "passed" && test.status !== "failed");
    return {
      passed: count("passed"),
      failed: failed === 0 && file.status === "failed" ? 1 : failed,
      leftOut: left.map((test) => `${test.fullName} (${test.status} by ${baseName(file.name)})`),
    };
  });
  return sum(perFile);
}

export function failedFiles(report: VitestReport): string[] {
  return report.testResults.filter(({ status }) => status === "failed").map(({ name }) => name);
}

export function sum(tallies: readonly Tally[]): Tally {
  return {
    passed: tallies.reduce((total, tally) => total + tally.passed, 0),
    failed: tallies.reduce((total, tally) => total + tally.failed, 0),
    leftOut: tallies.flatMap((tally) => tally.leftOut),
  };
}

/** The last line of `npm test` and `.ci/run`; scripts read it. */
export function lastLine(tally: Tally): string {
  return `${tally.passed} passed, ${tally.failed} failed`;
}

/** From a text whose last line of that form counts; undefined: it has none. */
export function readLastLine(text: string): Tally | undefined {
  const match = [...text.matchAll(/(\d+) passed, (\d+) failed/g)].at(-1);
  if (match === undefined) return undefined;
  return { passed: Number(match[1]), failed: Number(match[2]), leftOut: [] };
}

/** Left-out tests count as failures where nobody looks: in CI. */
export function exitCode(tally: Tally, ci: boolean): number {
  if (tally.failed > 0 || tally.passed === 0) return 1;
  return ci && tally.leftOut.length > 0 ? 1 : 0;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
