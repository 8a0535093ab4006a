/** The command that takes a host offline (SPEC R9): real processes. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OfflineHook } from "../../../services/agent/offline-hook.ts";

describe("the hook that takes a host offline", () => {
  let directory = "";
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "baton-hook-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  function hook(command: readonly string[] | undefined, timeoutMs = 5_000) {
    let told = Promise.withResolvers<void>();
    const instance = new OfflineHook({
      command,
      timeoutMs,
      instance: "vm-a",
      file: join(directory, "offline"),
      onReport: () => told.resolve(),
      log: pino({ level: "silent" }),
    });
    const run = async (id: string) => {
      told = Promise.withResolvers();
      instance.sync(id);
      await told.promise;
      return instance.reports();
    };
    return { instance, run };
  }
  const sh = (script: string) => ["sh", "-c", script];
  const lines = () => readFileSync(join(directory, "ran"), "utf8").trim().split("\n");

  test("is run with what it has to know, and its outcome told", async () => {
    const { run } = hook(sh(`echo "$BATON_REMAP $BATON_INSTANCE" >> ${directory}/ran; echo bye`));
    expect(await run("r1")).toEqual([{ id: "r1", outcome: "done", message: "exit code 0: bye" }]);
    expect(lines()).toEqual(["r1 vm-a"]);
  });

  test("that fails is told of with its words", async () => {
    const { run } = hook(sh("echo 'no power switch' >&2; exit 3"));
    expect(await run("r1")).toEqual([{ id: "r1", outcome: "failed", message: "exit code 3: no power switch" }]);
  });

  test("that can't be run at all is told of", async () => {
    const [report] = await hook(["/no/such/program"]).run("r1");
    expect(report).toMatchObject({ outcome: "failed", message: expect.stringContaining("/no/such/program") });
  });

  test("that takes too long is ended, with all that it has started", async () => {
    const [report] = await hook(sh("sleep 60 & echo $!; wait"), 200).run("r1");
    expect(report).toMatchObject({ outcome: "timed-out", message: expect.stringContaining("not done within 200 ms") });
    const pid = Number(/(\d+)$/.exec(report?.message ?? "")?.[1]);
    await expect.poll(() => isRunning(pid)).toBe(false);
  });

  test("is done for good in the process that has run it, and in no later one: what is stored keeps no host from serving again", async () => {
    const first = hook(sh("true"));
    expect(first.instance.isDone).toBe(false);
    await first.run("r1");
    expect(first.instance.isDone).toBe(true);
    const later = hook(sh("true"));
    expect(await later.run("r1")).toMatchObject([{ id: "r1", outcome: "done" }]);
    expect(later.instance.isDone).toBe(false);
    const failing = hook(sh("exit 1"));
    await failing.run("r2");
    expect(failing.instance.isDone).toBe(false);
  });

  test("is run once for an id, also by an agent that is started again", async () => {
    const command = sh(`echo run >> ${directory}/ran`);
    const first = hook(command);
    await first.run("r1");
    first.instance.sync("r1");
    expect(await hook(command).run("r1")).toMatchObject([{ id: "r1", outcome: "done" }]);
    expect(lines()).toEqual(["run"]);
    await hook(command).run("r2");
    expect(lines()).toEqual(["run", "run"]);
  });

  test("is not run again when the agent was started anew while it ran", async () => {
    const command = sh(`echo run >> ${directory}/ran; exec sleep 1`);
    const ended = hook(command).run("r1");
    await expect.poll(() => ran(lines)).toBe(true);
    expect(await hook(command).run("r1")).toMatchObject([{ id: "r1", outcome: "unheard" }]);
    expect(lines()).toEqual(["run"]);
    // What it writes at its end must not come after its directory has gone.
    await ended;
  });

  test("is told of only while it is asked for, and not run where none is configured", async () => {
    const { instance, run } = hook(undefined);
    expect(await run("r1")).toMatchObject([{ outcome: "not-run" }]);
    instance.sync(undefined);
    expect(instance.reports()).toEqual([]);
  });
});

function isRunning(pid: number): boolean {
  try {
    // A process that has ended, and whose end nobody has taken note of yet, has no memory any more.
    return readFileSync(`/proc/${pid}/statm`, "utf8").trim() !== "0 0 0 0 0 0 0";
  } catch {
    return false;
  }
}

function ran(read: () => string[]): boolean {
  try {
    return read().length > 0;
  } catch {
    return false;
  }
}
