/**
 * A tracker whose disk is full or whose database is damaged: it says so, tells nothing wrong, and mends itself from the
 * stream (SPEC B2, B3). What the disk does to the database is real: a small file system, and bytes changed in its files.
 */
import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Level } from "level";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { runCommand } from "../../services/lab/command.ts";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import type { FlowEvent } from "../../src/flow/events.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import { keyOf, publicAddress, rowOf } from "../support/flows.ts";
import { freePort, startNatsServer, type TestNatsServer } from "../support/nats-server.ts";
import { ServiceProcess } from "../support/service-process.ts";
import { Speaker, type TestDirectory, temporaryDirectory } from "../support/tracker.ts";

const signal = AbortSignal.timeout(600_000);
const shards = 1;
const flowsStored = 3_000;
const diskBytes = 12 * 1024 * 1024;
const waitMs = 30_000;

/** LevelDB's own, which the type of `level` leaves out for browsers' sake. */
interface Compactable {
  compactRange(start: Buffer, end: Buffer): Promise<void>;
}

const opened = (from: number, count: number): FlowEvent => ({
  kind: "changes",
  rows: Array.from({ length: count }, (_, index) => rowOf(from + index)),
  coalesced: [],
});

describe("a tracker's database", () => {
  let nats: TestNatsServer;
  let directory: TestDirectory;
  let data: string;
  let adminPort: number;
  let tracker: ServiceProcess;
  let client: TrackerClient;
  let bus: NatsBus;
  let speaker: Speaker;
  let cleanUp: AsyncDisposableStack;
  /** Of the last message that {@link applySome} published. */
  let end: bigint;

  async function open(): Promise<void> {
    cleanUp = new AsyncDisposableStack();
    nats = cleanUp.use(await startNatsServer());
    directory = cleanUp.use(await temporaryDirectory());
    data = join(directory.path, "data");
    await mkdir(data);
    adminPort = await freePort();
    const endpoint = `127.0.0.1:${await freePort()}`;
    tracker = cleanUp.use(
      await ServiceProcess.create("tracker", {
        name: "tracker1",
        listen: [endpoint],
        trackers: [{ name: "tracker1", endpoint }],
        nats: { servers: nats.servers },
        dataDirectory: data,
        shards,
        rebuild: { settleMs: 200 },
        admin: { listen: `127.0.0.1:${adminPort}` },
      }),
    );
    client = cleanUp.use(new TrackerClient([endpoint]));
    bus = cleanUp.use(connectBus({ servers: nats.servers, name: "test" }));
    speaker = new Speaker(bus, signal);
  }

  describe("on a full disk", () => {
    beforeEach(async () => {
      await open();
      await runCommand("mount", ["-t", "tmpfs", "-o", `size=${diskBytes}`, "baton-test", data]);
      cleanUp.defer(async () => {
        await tracker.end("SIGKILL");
        await runCommand("umount", [data]);
      });
    });
    afterEach(async () => {
      await cleanUp.disposeAsync();
    });

    test("stands still and says so, answers what it has stored, and goes on when there is room", async () => {
      tracker.start();
      await ready();
      await applied(await speaker.say(opened(1, 100)));
      fillDisk();
      const beyond = await publishUntil(async () => (await readiness()).status === 503);

      expect((await readiness()).text).toMatch(/database can't be used: .*No space left on device; free some room/);
      expect(tracker.running).toBe(true);
      expect(await client.barrier([{ shard: 0, sequence: beyond }], { deadlineMs: 1_500, signal })).toEqual({
        reached: false,
        behind: [0],
      });
      expect(await client.lookup([keyOf(1)], [], { deadlineMs: 5_000, signal })).toMatchObject([{ kind: "owned" }]);
      expect(await metric("baton_tracker_store_faults_total", 'kind="full"')).toBe(1);

      emptyDisk();
      await ready();
      await applied(beyond);
      expect(tracker.output.filter((line) => line.includes("the database works again"))).toHaveLength(1);
      expect((await counted()).complete).toBe(true);
      expect(await tracker.end("SIGTERM")).toBe(0);

      tracker.start();
      await ready();
      await applied(beyond);
      expect(tracker.output.join("\n")).not.toMatch(/built anew|thrown away/);
    });

    test("starts, waits for room, and then follows", async () => {
      await applySome();
      fillDisk();
      tracker.start();
      await until(async () => (await readiness()).text.includes("No space left on device"), "the trouble to be told");
      expect(await client.lookup([keyOf(1)], [], { deadlineMs: 5_000, signal })).toMatchObject([{ kind: "unknown" }]);
      emptyDisk();
      await ready();
      await applied(end);
      expect(await counted()).toMatchObject({ flows: flowsStored, complete: true });
    });

    function fillDisk(): void {
      let bytes = diskBytes;
      while (bytes >= 512) {
        try {
          writeFileSync(join(data, "ballast"), Buffer.alloc(bytes), { flag: "a" });
        } catch {
          bytes = Math.trunc(bytes / 2);
        }
      }
    }

    function emptyDisk(): void {
      rmSync(join(data, "ballast"));
    }

    /** Sequence of the last message. */
    async function publishUntil(condition: () => Promise<boolean>): Promise<bigint> {
      let last = 0n;
      for (let from = 1_000; !(await condition()); from += 500) {
        if (from > 60_000) throw new Error("the disk never got full");
        last = await speaker.say(opened(from, 500));
      }
      return last;
    }
  });

  describe("that is damaged", () => {
    /** Everything in one table, as a tracker has left it. */
    let whole: TestDirectory;

    beforeAll(async () => {
      await open();
      await applySome();
      await compact();
      whole = cleanUp.use(await temporaryDirectory());
      cpSync(data, whole.path, { recursive: true });
    });
    beforeEach(() => {
      rmSync(data, { recursive: true });
      cpSync(whole.path, data, { recursive: true });
    });
    afterEach(async () => {
      await tracker.end("SIGKILL");
    });
    afterAll(async () => {
      await cleanUp.disposeAsync();
    });

    test.each<[string, () => void]>([
      ["CURRENT with other content", () => writeFileSync(fileOf(/^CURRENT$/), "rubbish")],
      ["CURRENT that names no file", () => writeFileSync(fileOf(/^CURRENT$/), "MANIFEST-999999\n")],
      ["no CURRENT", () => unlinkSync(fileOf(/^CURRENT$/))],
      ["a changed byte in MANIFEST", () => flip(fileOf(/^MANIFEST/), 20)],
      ["an empty MANIFEST", () => truncateSync(fileOf(/^MANIFEST/), 0)],
      ["no MANIFEST", () => unlinkSync(fileOf(/^MANIFEST/))],
      ["a changed byte in a table", () => flip(fileOf(/\.ldb$/), 2_000)],
      ["a table without its end", () => truncateSync(fileOf(/\.ldb$/), 3_000)],
      ["a table of zeros", () => writeFileSync(fileOf(/\.ldb$/), Buffer.alloc(20_000))],
      ["a missing table", () => unlinkSync(fileOf(/\.ldb$/))],
    ])("%s: told, thrown away, and whole again from the stream", async (_what, damage) => {
      damage();
      await expectMended();
    });

    test("a value with a changed bit that LevelDB doesn't notice: likewise", async () => {
      await changeOneValue();
      await expectMended();
    });

    test("a changed byte in the log of the last writes: likewise, though LevelDB would go on; and the next start finds all", async () => {
      await applySome("SIGKILL");
      flip(fileOf(/^\d+\.log$/), 40_000);
      await expectMended();
      tracker.output.splice(0);
      tracker.start();
      await ready();
      expect(tracker.output.join("\n")).not.toMatch(/thrown away/);
      expect(await counted()).toMatchObject({ flows: flowsStored, complete: true });
    });

    test("in use by another process: said, and the second tracker ends with exit code 1", async () => {
      tracker.start();
      await ready();
      const endpoint = `127.0.0.1:${await freePort()}`;
      await using second = await ServiceProcess.create("tracker", {
        name: "tracker1",
        listen: [endpoint],
        trackers: [{ name: "tracker1", endpoint }],
        nats: { servers: nats.servers },
        dataDirectory: data,
        shards,
      });
      second.start();
      await until(() => !second.running, "the second tracker to end");
      expect(await second.end("SIGTERM")).toBe(1);
      expect(second.output.join("\n")).toContain("another process has it open");
      expect((await readiness()).status).toBe(200);
    });
  });

  async function expectMended(): Promise<void> {
    tracker.output.splice(0);
    tracker.start();
    await ready();
    await applied(end);
    expect(tracker.output.join("\n")).toMatch(/thrown away and built anew/);
    expect(await counted()).toMatchObject({ flows: flowsStored, complete: true });
    expect(await tracker.end("SIGTERM")).toBe(0);
  }

  /** A tracker that has stored some flows, and ended. */
  async function applySome(how: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    tracker.start();
    await ready();
    for (let from = 1; from <= flowsStored; from += 500) end = await speaker.say(opened(from, 500));
    await applied(end);
    await tracker.end(how);
  }

  async function applied(sequence: bigint): Promise<void> {
    const reached = await client.barrier([{ shard: 0, sequence }], { deadlineMs: waitMs, signal });
    expect(reached).toEqual({ reached: true });
  }

  async function counted(): Promise<{ readonly flows: number; readonly complete: boolean }> {
    const { counts, complete } = await client.count({ address: publicAddress }, { deadlineMs: 5_000, signal });
    return { flows: counts.reduce((sum, { flows }) => sum + flows, 0), complete };
  }

  async function ready(): Promise<void> {
    await until(async () => (await readiness()).status === 200, "the tracker to be ready");
  }

  async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    await waitFor(condition, { signal, timeoutMs: waitMs, what: `${what}; ${tracker.output.slice(-5).join("\n")}` });
  }

  async function readiness(): Promise<{ readonly status: number; readonly text: string }> {
    try {
      const response = await fetch(`http://127.0.0.1:${adminPort}/readyz`);
      return { status: response.status, text: await response.text() };
    } catch {
      return { status: 0, text: "" };
    }
  }

  async function metric(name: string, label: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
    return Number(new RegExp(`^${name}\\{${label}\\} (\\S+)$`, "m").exec(text)?.[1]);
  }

  function fileOf(pattern: RegExp): string {
    const folder = join(data, "flows");
    const found = readdirSync(folder).filter((name) => pattern.test(name));
    const [name] = found;
    if (name === undefined) throw new Error(`no ${pattern} among ${readdirSync(folder).join(", ")}`);
    return join(folder, name);
  }

  function flip(file: string, at: number): void {
    const bytes = readFileSync(file);
    bytes[at] = (bytes[at] ?? 0) ^ 0xff;
    writeFileSync(file, bytes);
  }

  async function openDatabase(): Promise<Level<Buffer, Buffer>> {
    const database = new Level<Buffer, Buffer>(join(data, "flows"), { keyEncoding: "buffer", valueEncoding: "buffer" });
    await database.open();
    return database;
  }

  /** Everything into one table. */
  async function compact(): Promise<void> {
    const database = (await openDatabase()) as Level<Buffer, Buffer> & Compactable;
    await database.compactRange(Buffer.alloc(1), Buffer.alloc(64, 0xff));
    await database.close();
  }

  async function changeOneValue(): Promise<void> {
    const database = await openDatabase();
    const [entry] = await database.iterator({ gte: Buffer.from([0, 0, 2]), limit: 1 }).all();
    if (entry === undefined) throw new Error("no flow is stored");
    const [key, value] = entry;
    value[3] = (value[3] ?? 0) ^ 1;
    await database.put(key, value);
    await database.close();
  }
});
