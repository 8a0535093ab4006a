import { describe, expect, it } from "vitest";
import { exitCode, failedFiles, lastLine, readLastLine, sum, tallyOf } from "../../run/tally.ts";

function file(name: string, status: string, tests: Record<string, string>) {
  return {
    name: `/repo/test/${name}`,
    status,
    assertionResults: Object.entries(tests).map(([fullName, outcome]) => ({ fullName, status: outcome })),
  };
}

describe("the tally of the suites", () => {
  it("counts tests, and names those that did not run", () => {
    const report = { testResults: [file("a.test.ts", "failed", { one: "passed", two: "failed", three: "skipped" })] };
    expect(tallyOf(report)).toEqual({ passed: 1, failed: 1, leftOut: ["three (skipped by a.test.ts)"] });
  });

  it("counts a file that could not be loaded as a failure", () => {
    expect(tallyOf({ testResults: [file("a.test.ts", "failed", {})] }).failed).toBe(1);
  });

  it("names the files that failed, by a test or as a whole", () => {
    const results = [
      file("a.test.ts", "failed", { one: "failed" }),
      file("b.test.ts", "passed", { two: "passed" }),
      file("c.test.ts", "failed", {}),
    ];
    expect(failedFiles({ testResults: results })).toEqual(["/repo/test/a.test.ts", "/repo/test/c.test.ts"]);
  });

  it("writes a last line that it can read", () => {
    const tally = sum([
      { passed: 3, failed: 1, leftOut: [] },
      { passed: 4, failed: 0, leftOut: [] },
    ]);
    expect(lastLine(tally)).toBe("7 passed, 1 failed");
    expect(readLastLine(`1 passed, 5 failed\n${lastLine(tally)}\n`)).toEqual(tally);
    expect(readLastLine("nothing")).toBeUndefined();
  });

  it("fails with a failure, without any test, and in CI with anything left out", () => {
    expect(exitCode({ passed: 5, failed: 0, leftOut: [] }, true)).toBe(0);
    expect(exitCode({ passed: 5, failed: 1, leftOut: [] }, false)).toBe(1);
    expect(exitCode({ passed: 0, failed: 0, leftOut: [] }, false)).toBe(1);
    expect(exitCode({ passed: 5, failed: 0, leftOut: ["x"] }, false)).toBe(0);
    expect(exitCode({ passed: 5, failed: 0, leftOut: ["x"] }, true)).toBe(1);
  });
});
