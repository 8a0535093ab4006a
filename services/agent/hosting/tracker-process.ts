/**
 * The tracker beside an agent: one process, from its start to its end.
 *
 * A process, and neither a part of the agent's nor a thread of it. A tracker's look-ups, batches and LevelDB would hold the
 * event loop on which an agent's orders wait; a million flows take hundreds of megabytes; and what aborts native code of
 * one must not take the other along. It ends with the agent, however that ends: see services/tracker/hosted-main.ts.
 */
import { type ChildProcess, fork } from "node:child_process";
import { constants, getPriority, setPriority } from "node:os";
import type { Logger } from "../../../src/runtime/log.ts";
import { type HostedReport, hostedReport } from "../../../src/tracker/hosted-protocol.ts";
import type { TrackerSetup } from "../../../src/tracker/setup.ts";

export interface TrackerProcessOptions {
  readonly setup: TrackerSetup;
  readonly onReport: () => void;
  readonly log: Logger;
}

/** From SIGTERM to SIGKILL: its disk survives either. Less than the agent has for its own end. */
const stopMs = 3_000;

export class TrackerProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  /** Resolves with how it has ended; never rejects. */
  readonly ended: Promise<string>;
  #report: HostedReport | undefined;

  constructor({ setup, onReport, log }: TrackerProcessOptions) {
    // Not the agent's own flags: its heap is made for short turns.
    const child = fork(hostedMain(), { execArgv: [], serialization: "advanced" });
    this.#child = child;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.ended = promise;
    child.once("exit", (code, signal) => resolve(code === null ? `ended by ${signal}` : `exit code ${code}`));
    child.on("error", (error) => {
      log.error({ error }, "the tracker's process");
      if (child.pid === undefined) resolve(`not started: ${error.message}`);
    });
    child.on("message", (message) => {
      const parsed = hostedReport.safeParse(message);
      if (!parsed.success) return log.error({ error: parsed.error }, "the tracker beside has said what can't be read");
      this.#report = parsed.data;
      onReport();
    });
    if (child.pid === undefined) return;
    beNice(child.pid, log);
    child.send(setup, (error) => {
      if (error === null) return;
      log.error({ error }, "the tracker beside did not take its setup");
      child.kill("SIGKILL");
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The last one; undefined: it does not answer calls yet. */
  get report(): HostedReport | undefined {
    return this.#report;
  }

  /** Ends it, and resolves when it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    const force = setTimeout(() => this.#child.kill("SIGKILL"), stopMs);
    await this.ended;
    clearTimeout(force);
  }
}

/** An agent may run before all others; its tracker must not. */
function beNice(pid: number, log: Logger): void {
  try {
    if (getPriority(pid) < constants.priority.PRIORITY_NORMAL) setPriority(pid, constants.priority.PRIORITY_NORMAL);
  } catch (error) {
    log.warn({ error }, "the tracker beside keeps the agent's priority");
  }
}

/** TypeScript in the repository, JavaScript in the package. */
function hostedMain(): URL {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`../../tracker/hosted-main.${extension}`, import.meta.url);
}
