/**
 * Runs the command that takes this host offline, once for each id, and tells what came of it.
 *
 * That it was begun is on the disk before it is begun: an agent that is started again, perhaps by the very reboot that the
 * command has caused, does not run it twice.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { z } from "zod";
import { type HookReport, hookOutcomes, type OfflineReport } from "../../src/node/status.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { type FileCodec, readStateFile, writeStateFile } from "../../src/runtime/state-file.ts";

export interface OfflineHookParts {
  /** Program and arguments; undefined: none is configured. */
  readonly command: readonly string[] | undefined;
  readonly timeoutMs: number;
  readonly instance: string;
  /** Remembers the last id and what came of it. */
  readonly file: string;
  readonly onReport: () => void;
  readonly log: Logger;
}

/** After SIGTERM. */
const killMs = 2_000;
/** Of what the command writes, the end is told. */
const outputCharactersMax = 1_000;

interface Run {
  readonly id: string;
  readonly report?: OfflineReport;
}

export class OfflineHook {
  readonly #parts: OfflineHookParts;
  #wanted: string | undefined;
  #run: Run | undefined;
  #isDone = false;
  #work: Promise<void> = Promise.resolve();

  constructor(parts: OfflineHookParts) {
    this.#parts = parts;
  }

  /** Undefined: nothing is asked for. Asking for the same again does nothing. */
  sync(id: string | undefined): void {
    if (id === this.#wanted) return;
    this.#wanted = id;
    if (id === undefined) return;
    this.#work = this.#work.then(() => this.#ensure(id)).catch((error: unknown) => this.#give(id, failed(error)));
  }

  /** This process has run it, and it went well: the host goes, or has gone as far as it was to. */
  get isDone(): boolean {
    return this.#isDone;
  }

  reports(): readonly HookReport[] {
    const run = this.#run;
    if (run?.report === undefined || run.id !== this.#wanted) return [];
    return [{ id: run.id, ...run.report }];
  }

  async #ensure(id: string): Promise<void> {
    const { command, file, log } = this.#parts;
    const stored = await readStateFile(file, runCodec);
    if (stored.kind === "found" && stored.value.id === id) {
      this.#give(id, stored.value.report ?? { outcome: "unheard", message: "the agent was started anew while it ran" });
      return;
    }
    if (command === undefined) {
      this.#give(id, { outcome: "not-run", message: "not run: no command is configured" });
      return;
    }
    await writeStateFile(file, { id }, runCodec);
    log.info({ id, command }, "taking this host offline");
    const report = await this.#execute(id, command);
    this.#isDone = report.outcome === "done";
    log.info({ id, ...report }, "the command that takes this host offline has ended");
    await writeStateFile(file, { id, report }, runCodec).catch((error: unknown) => {
      log.error({ error }, "what came of the command is not on the disk");
    });
    this.#give(id, report);
  }

  #give(id: string, report: OfflineReport): void {
    this.#run = { id, report };
    this.#parts.onReport();
  }

  async #execute(id: string, [program = "", ...args]: readonly string[]): Promise<OfflineReport> {
    const { timeoutMs, instance } = this.#parts;
    const env = { ...process.env, BATON_REMAP: id, BATON_INSTANCE: instance };
    // A process group of its own: at its time's end, what it has started ends with it.
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, env });
    const output = tailOf([child.stdout, child.stderr]);
    let late = false;
    const end = (signal: NodeJS.Signals): void => {
      late = true;
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    };
    const timers = [setTimeout(() => end("SIGTERM"), timeoutMs), setTimeout(() => end("SIGKILL"), timeoutMs + killMs)];
    try {
      const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
      const how = code === null ? `ended by ${signal}` : `exit code ${code}`;
      const message = [late ? `not done within ${timeoutMs} ms, ${how}` : how, output()].filter(Boolean).join(": ");
      return { outcome: late ? "timed-out" : code === 0 ? "done" : "failed", message };
    } finally {
      for (const timer of timers) clearTimeout(timer);
    }
  }
}

function tailOf(streams: readonly Readable[]): () => string {
  let text = "";
  for (const stream of streams)
    stream.setEncoding("utf8").on("data", (piece: string) => {
      text = `${text}${piece}`.slice(-outputCharactersMax);
    });
  return () => text.trim();
}

function failed(error: unknown): OfflineReport {
  return { outcome: "failed", message: error instanceof Error ? error.message : String(error) };
}

const runSchema = z.strictObject({
  id: z.string(),
  report: z.exactOptional(z.strictObject({ outcome: z.enum(hookOutcomes), message: z.string() })),
});

const runCodec: FileCodec<Run> = {
  encode: (run) => new TextEncoder().encode(JSON.stringify(run)),
  decode(bytes) {
    try {
      const parsed = runSchema.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
      return parsed.success ? { ok: true, value: parsed.data } : { ok: false, message: z.prettifyError(parsed.error) };
    } catch (error) {
      return { ok: false, message: String(error) };
    }
  },
};
