/**
 * Rules of the gossip taken out of a copy of its source, one at a time: the test that is named here must then fail, and
 * must pass on the source as it is. So none of these rules can get lost without a word.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { repositoryRoot } from "../check/files.ts";

interface Mutation {
  readonly rule: string;
  /** In src/gossip. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
  readonly testFile: string;
  /** Its title. */
  readonly test: string;
}

const unit = "test/unit/gossip/";

const mutations: readonly Mutation[] = [
  {
    rule: "refutation",
    file: "roster.ts",
    from: "this.#renew(this.self, Math.max(this.table.incarnation(self), accusedIncarnation) + 1, nowMs);",
    to: "void [accusedIncarnation, nowMs];",
    testFile: `${unit}rumours.test.ts`,
    test: "refutes with an incarnation strictly higher than the accusation's, and lives on for everybody (M2, M4)",
  },
  {
    rule: "indirect probe",
    file: "prober.ts",
    from: "this.#roster.pick(config.indirectProbes, mayHelp)",
    to: "this.#roster.pick(0, mayHelp)",
    testFile: `${unit}probe.test.ts`,
    test: "passes a blocked direct path by an indirect ack, without any suspicion",
  },
  {
    rule: "awareness of one's own health",
    file: "awareness.ts",
    from: "return ms * (this.#score + 1);",
    to: "return ms;",
    testFile: `${unit}probe.test.ts`,
    test: "makes us wait longer before we accuse",
  },
  {
    rule: "gossip to the dead",
    file: "packets.ts",
    from: 'return table.state(slot) === "dead" && nowMs - table.changedAtMs(slot) <= config.gossipToTheDeadMs;',
    to: "return false;",
    testFile: `${unit}rumours.test.ts`,
    test: "called dead by mistake, hears it by gossip to the dead and comes back, without probes and push/pull",
  },
  {
    rule: "the buddy rule",
    file: "prober.ts",
    from: "...(isTold ? [suspect, ping] : [ping])",
    to: "ping",
    testFile: `${unit}rumours.test.ts`,
    test: "hears of a suspicion with the ping of who suspects it (buddy rule)",
  },
  {
    rule: "TCP where UDP is dead",
    file: "prober.ts",
    from: "if (!config.streamFallback) return;",
    to: "if (config.streamFallback) return;",
    testFile: `${unit}probe.test.ts`,
    test: "reaches by TCP who is dead by UDP, and suspects nobody",
  },
  {
    rule: "confirmations that shorten a suspicion",
    file: "suspicions.ts",
    from: "this.#schedule(slot, suspicion, nowMs + Math.max(0, remainingMs));",
    to: "void remainingMs;",
    testFile: `${unit}suspicions.test.ts`,
    test: "shortens the time with every accuser that counts",
  },
  {
    rule: "the chance to refute what a push/pull says",
    file: "push-pull.ts",
    from: 'this.#roster.suspect({ kind: "suspect", name, incarnation, from: this.#roster.self.name }, nowMs);\n        return;\n      default',
    to: 'this.#roster.dead({ kind: "dead", name, incarnation, from: this.#roster.self.name }, nowMs);\n        return;\n      default',
    testFile: `${unit}push-pull.test.ts`,
    test: "merges what the other end holds dead as a suspicion only (M5)",
  },
];

interface JsonReport {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly title: string; readonly status: string }[];
  }[];
}

const runTimeoutMs = 120_000;
const testTimeoutMs = 300_000;

describe("the gossip without one of its rules", () => {
  let copy: string;

  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), "baton-mutations-"));
    for (const path of ["src", unit, "package.json", "tsconfig.json", "vitest.config.ts"])
      cpSync(join(repositoryRoot, path), join(copy, path), { recursive: true });
    symlinkSync(join(repositoryRoot, "node_modules"), join(copy, "node_modules"));
  });

  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  /** "passed", "failed", or whatever else became of the one test; the copy is as `mutate` left it. */
  function outcomeOf({ testFile, test }: Mutation): string {
    const report = join(copy, "report.json");
    rmSync(report, { force: true });
    const vitest = join(copy, "node_modules/vitest/vitest.mjs");
    const args = [vitest, "run", "--root", copy, "--project", "unit", testFile, "--reporter=json"];
    const { stderr } = spawnSync(process.execPath, [...args, `--outputFile=${report}`], {
      cwd: copy,
      encoding: "utf8",
      timeout: runTimeoutMs,
    });
    try {
      const { testResults } = JSON.parse(readFileSync(report, "utf8")) as JsonReport;
      const found = testResults
        .flatMap(({ assertionResults }) => assertionResults)
        .filter(({ title }) => title === test);
      return found.map(({ status }) => status).join(", ") || "there is no such test";
    } catch (error) {
      throw new Error(`vitest left no report: ${stderr}`, { cause: error });
    }
  }

  it.each(mutations)(
    "fails without $rule: the test \u201c$test\u201d",
    (mutation) => {
      const path = join(copy, "src/gossip", mutation.file);
      const source = readFileSync(path, "utf8");
      expect(source.split(mutation.from)).toHaveLength(2);
      expect(outcomeOf(mutation)).toBe("passed");
      writeFileSync(
        path,
        source.replace(mutation.from, () => mutation.to),
      );
      try {
        expect(outcomeOf(mutation)).toBe("failed");
      } finally {
        writeFileSync(path, source);
      }
    },
    testTimeoutMs,
  );
});
