import { describe, expect, it } from "vitest";
import { waitFor } from "../../../src/runtime/retry.ts";
import { StoreFault, type StoreFaultKind, storeFault } from "../../../src/tracker/store-fault.ts";
import { StoreKeeper } from "../../../src/tracker/store-keeper.ts";
import { quietLog } from "../../support/tracker.ts";

/** A store and a tracker that do what they are told, and note what they are asked. */
class Scripted {
  readonly calls: string[] = [];
  readonly faults: StoreFaultKind[] = [];
  readonly keeper: StoreKeeper;
  /** What the next calls of a name end with. */
  readonly #endings: Map<string, StoreFaultKind[]>;

  constructor(endings: Partial<Record<"reopen" | "load" | "discard" | "run", StoreFaultKind[]>>) {
    this.#endings = new Map(Object.entries(endings));
    this.keeper = new StoreKeeper({
      store: { reopen: () => this.#call("reopen"), discard: () => this.#call("discard") },
      tracker: { load: () => this.#call("load"), run: (signal) => this.#run(signal) },
      log: quietLog,
      onFault: (kind) => this.faults.push(kind),
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    await this.#call("run");
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  }

  async #call(name: string): Promise<void> {
    this.calls.push(name);
    const kind = this.#endings.get(name)?.shift();
    if (kind !== undefined) throw new StoreFault(kind, `${name}: ${kind}`);
  }
}

async function runUntil(scripted: Scripted, runs: number): Promise<void> {
  const stop = new AbortController();
  const running = scripted.keeper.run(stop.signal);
  const signal = AbortSignal.timeout(10_000);
  const done = () => scripted.calls.filter((call) => call === "run").length === runs;
  await waitFor(done, { signal, timeoutMs: 10_000, what: `${runs} runs; there were ${scripted.calls.join(", ")}` });
  stop.abort();
  await running;
}

describe("the keeper of a tracker's store", () => {
  it("opens and loads before it follows", async () => {
    const scripted = new Scripted({});
    await scripted.keeper.begin();
    await runUntil(scripted, 1);
    expect(scripted.calls).toEqual(["reopen", "load", "run"]);
    expect(scripted.keeper.trouble).toBeUndefined();
  });

  it("leaves a full disk to the run, which tries until there is room, and tells of it once", async () => {
    const scripted = new Scripted({ reopen: ["full", "full"], load: ["full"] });
    await scripted.keeper.begin();
    expect(scripted.keeper.trouble).toBe("reopen: full");
    await runUntil(scripted, 1);
    expect(scripted.calls).toEqual(["reopen", "reopen", "reopen", "load", "reopen", "load", "run"]);
    expect(scripted.faults).toEqual(["full"]);
    expect(scripted.keeper.trouble).toBeUndefined();
  });

  it("reads everything back after a write has failed, for memory is ahead of the disk then", async () => {
    const scripted = new Scripted({ run: ["failed"] });
    await scripted.keeper.begin();
    await runUntil(scripted, 2);
    expect(scripted.calls).toEqual(["reopen", "load", "run", "reopen", "load", "run"]);
  });

  it("tries less and less often where a disk takes what is read back and not what comes next, and says so meanwhile (B3)", async () => {
    const scripted = new Scripted({ run: Array.from({ length: 100 }, () => "full" as const) });
    await scripted.keeper.begin();
    const stop = new AbortController();
    const running = scripted.keeper.run(stop.signal);
    const runs = () => scripted.calls.filter((call) => call === "run").length;
    await waitFor(() => runs() === 3, {
      signal: AbortSignal.timeout(10_000),
      timeoutMs: 10_000,
      what: "the third run",
    });
    const beganMs = performance.now();
    expect(scripted.keeper.trouble).toBe("run: full");
    await waitFor(() => runs() === 4, {
      signal: AbortSignal.timeout(10_000),
      timeoutMs: 10_000,
      what: "the fourth run",
    });
    expect(performance.now() - beganMs).toBeGreaterThan(500);
    stop.abort();
    await running;
  });

  it("throws a damaged database away, also when the damage shows only as it runs and reading would go well", async () => {
    const atStart = new Scripted({ load: ["damaged"] });
    await atStart.keeper.begin();
    expect(atStart.calls).toEqual(["reopen", "load", "discard", "load"]);
    expect(atStart.keeper.trouble).toBeUndefined();
    const later = new Scripted({ run: ["damaged"] });
    await later.keeper.begin();
    await runUntil(later, 2);
    expect(later.calls).toEqual(["reopen", "load", "run", "discard", "load", "run"]);
    expect(later.faults).toEqual(["damaged"]);
  });

  it.each(["in-use", "failed"] as const)("does not wait where that is vain: %s", async (kind) => {
    const scripted = new Scripted({ reopen: [kind] });
    await expect(scripted.keeper.begin()).rejects.toMatchObject({ kind });
  });
});

describe("a fault of the store", () => {
  const levelError = (code: string, message: string) =>
    new Error("Database failed to open", { cause: Object.assign(new Error(message), { code }) });

  it.each([
    ["LEVEL_LOCKED", "IO error: lock /d/LOCK: Resource temporarily unavailable", "in-use"],
    ["LEVEL_IO_ERROR", "IO error: /d/000005.log: No space left on device", "full"],
    ["LEVEL_IO_ERROR", "IO error: /d/000005.log: Disk quota exceeded", "full"],
    ["LEVEL_CORRUPTION", "Corruption: checksum mismatch", "damaged"],
    ["LEVEL_IO_ERROR", "IO error: /d/MANIFEST-000002: No such file or directory", "damaged"],
    ["LEVEL_IO_ERROR", "IO error: /d/000005.ldb: Input/output error", "failed"],
    ["LEVEL_IO_ERROR", "IO error: /d/LOCK: Permission denied", "failed"],
  ])("%s, %s is %s, and names the directory and what to do", (code, message, kind) => {
    const fault = storeFault("/d", levelError(code, message));
    expect(fault.kind).toBe(kind);
    expect(fault.message).toMatch(/^\/d: the tracker's database can't be used: .+; .+/);
    expect(fault.message).toContain(message);
  });
});
