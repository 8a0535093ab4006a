/** Who sees that the tracker beside an agent runs, with trackers that are not there, fall silent, or stand still (SPEC H13). */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { agentConfigSchema } from "../../../services/agent/config.ts";
import { planHosting } from "../../../services/agent/hosting/config.ts";
import { TrackerData } from "../../../services/agent/hosting/tracker-data.ts";
import {
  type Patience,
  type RunningTracker,
  TrackerKeeper,
  type TrackerKeeperOptions,
} from "../../../services/agent/hosting/tracker-keeper.ts";
import { TrackerProcess } from "../../../services/agent/hosting/tracker-process.ts";
import type { HostedReport } from "../../../src/tracker/hosted-protocol.ts";
import type { TrackerSetup } from "../../../src/tracker/setup.ts";
import { quietLog } from "../../support/tracker.ts";

const told: HostedReport = { shards: [1], load: 0, notReady: [], epoch: 3n };
const waitMs = 15_000;

/** A tracker that is a process of nobody's: it tells what it is told to, until it is ended. */
class FakeTracker implements RunningTracker {
  readonly pid = 1;
  readonly startedMs = performance.now();
  endedMs: number | undefined;
  report: HostedReport | undefined;
  readonly #ending = Promise.withResolvers<string>();
  readonly #onReport: () => void;

  constructor(onReport: () => void) {
    this.#onReport = onReport;
  }

  get ended(): Promise<string> {
    return this.#ending.promise;
  }

  tell(report: HostedReport): void {
    this.report = report;
    this.#onReport();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.endedMs ??= performance.now();
    this.#ending.resolve("exit code 0");
  }
}

describe("the keeper of the tracker beside an agent", () => {
  let directory: string;
  let over: AbortController;
  let running: Promise<void> | undefined;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "baton-keeper-"));
    over = new AbortController();
  });
  afterEach(async () => {
    over.abort();
    await running;
    rmSync(directory, { recursive: true });
  });

  function keep(start: TrackerKeeperOptions["start"], patience?: Patience): TrackerKeeper {
    const keeper = new TrackerKeeper({
      named: () => ({ epoch: 3n, shards: [1] }),
      data: new TrackerData(directory),
      start,
      onChange: () => {},
      ...(patience !== undefined && { patience }),
      log: quietLog,
    });
    running = keeper.run(over.signal);
    return keeper;
  }

  test("ends one that has fallen silent, counts it as dead, and starts another", async () => {
    const trackers: FakeTracker[] = [];
    const keeper = keep(
      (onReport) => {
        const tracker = new FakeTracker(onReport);
        trackers.push(tracker);
        setImmediate(() => tracker.tell(told));
        return tracker;
      },
      { silentMaxMs: 300, firstReportMaxMs: 60_000 },
    );
    await expect.poll(() => keeper.report).toEqual(told);
    await expect.poll(() => trackers.length, { timeout: waitMs }).toBe(2);
    const [silent, next] = trackers;
    expect((silent?.endedMs ?? 0) - (silent?.startedMs ?? 0)).toBeGreaterThanOrEqual(300);
    expect(keeper.restarts.total).toBe(1);
    expect((next?.startedMs ?? 0) - (silent?.endedMs ?? 0)).toBeGreaterThanOrEqual(500);
  });

  test("gives one more time before it has told anything at all, and ends it then as well", async () => {
    const trackers: FakeTracker[] = [];
    const keeper = keep(
      (onReport) => {
        trackers.push(new FakeTracker(onReport));
        return trackers.at(-1) as FakeTracker;
      },
      { silentMaxMs: 1, firstReportMaxMs: 1_500 },
    );
    await expect.poll(() => keeper.restarts.total, { timeout: waitMs }).toBe(1);
    const [first] = trackers;
    expect((first?.endedMs ?? 0) - (first?.startedMs ?? 0)).toBeGreaterThanOrEqual(1_500);
  });

  test("counts as a death that none could be started, and waits longer each time before it tries anew", async () => {
    const triedMs: number[] = [];
    const keeper = keep((onReport) => {
      triedMs.push(performance.now());
      if (triedMs.length < 3) throw new Error("spawn EAGAIN");
      return new FakeTracker(onReport);
    });
    await expect.poll(() => keeper.pid, { timeout: waitMs }).toBe(1);
    expect(keeper.restarts.total).toBe(2);
    const [first = 0, second = 0, third = 0] = triedMs;
    expect(second - first).toBeGreaterThanOrEqual(500);
    expect(third - second).toBeGreaterThanOrEqual(1_000);
  });

  test("ends a process that stands still and takes no notice of being told to", async () => {
    const tracker = new TrackerProcess({ setup: setupOf(directory), onReport: () => {}, log: quietLog });
    await expect.poll(() => heedsSigterm(tracker.pid ?? 0), { timeout: waitMs }).toBe(true);
    process.kill(tracker.pid ?? 0, "SIGSTOP");
    await tracker[Symbol.asyncDispose]();
    expect(await tracker.ended).toBe("ended by SIGKILL");
  });
});

/** Of a tracker that finds nobody to speak to. */
function setupOf(directory: string): TrackerSetup {
  const config = {
    name: "vm-a",
    coordinators: ["127.0.0.1:1"],
    trackers: ["127.0.0.1:1"],
    nats: { servers: ["127.0.0.1:1"] },
    privateAddresses: ["127.0.0.1"],
    stateDirectory: directory,
    hosting: { listen: [`unix:${join(directory, "socket")}`] },
    log: { level: "error" },
  };
  return planHosting(agentConfigSchema.parse(config)).setup;
}

/** By default the signal ends a process, a stopped one too: proc(5), SigCgt of status. */
function heedsSigterm(pid: number): boolean {
  const caught = /^SigCgt:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${caught}`) & (1n << BigInt(constants.signals.SIGTERM - 1))) !== 0n;
}
