/**
 * iperf3 connections that stay open for long and are measured in turns.
 *
 * A followed connection must have been opened before the remap, and its peer of comparison must not run beside it: so
 * all are opened at the start, and all but the one that is measured are stopped (SIGSTOP; TCP then stops the sender).
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

export interface Interval {
  /** Seconds since the connection's start. */
  readonly from: number;
  readonly to: number;
  readonly bitsPerSecond: number;
}

const intervalSeconds = 0.5;
/** Longer than any run: a server must not give a stopped connection up. */
const patienceSeconds = 3_600;
const startTimeoutMs = 10_000;
/**
 * Processors of client and server. Left to the scheduler, their places differ from connection to connection, and that
 * difference is greater than any that is to be measured here.
 */
const processors = "0,1";

/** From a line of `iperf3 -f m`. */
export function parseInterval(line: string): Interval | undefined {
  const match = /^\[ *\d+\] +(\d+\.\d+)-(\d+\.\d+) +sec +.* (\d+(?:\.\d+)?) Mbits\/sec/.exec(line);
  if (match === null) return undefined;
  return { from: Number(match[1]), to: Number(match[2]), bitsPerSecond: Number(match[3]) * 1e6 };
}

/** The one that covers a stop is too long; the ones that make up for it are empty. */
export function isWhole(interval: Interval): boolean {
  return Math.abs(interval.to - interval.from - intervalSeconds) < intervalSeconds / 5;
}

export async function startIperfServer(namespace: string, port: number): Promise<AsyncDisposable> {
  const args = ["-s", "-p", String(port), "--rcv-timeout", String(patienceSeconds * 1000), "--forceflush"];
  const child = inNamespace(namespace, args);
  await firstLine(child, /listening/);
  return { [Symbol.asyncDispose]: () => end(child) };
}

export class IperfConnection implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  #intervals: Interval[] = [];
  #changed: () => void = () => {};

  private constructor(child: ChildProcessByStdio<null, Readable, Readable>) {
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => {
      const interval = parseInterval(line);
      if (interval === undefined) return;
      this.#intervals.push(interval);
      this.#changed();
    });
    child.once("exit", () => this.#changed());
  }

  /** Runs already when this resolves. `reverse`: the server sends. */
  static async open(namespace: string, to: string, port: number, reverse: boolean): Promise<IperfConnection> {
    const direction = reverse ? ["-R"] : [];
    const times = ["-t", String(patienceSeconds), "-i", String(intervalSeconds), "-f", "m", "--forceflush"];
    const places = availableParallelism() > 1 ? ["-A", processors] : [];
    const child = inNamespace(namespace, ["-c", to, "-p", String(port), ...times, ...places, ...direction]);
    const connection = new IperfConnection(child);
    await connection.#until(() => connection.#intervals.length > 0);
    return connection;
  }

  stop(): void {
    this.#child.kill("SIGSTOP");
  }

  /** Bits a second over `seconds`, after `warmUpSeconds` of running. Leaves it stopped. */
  async measure(seconds: number, warmUpSeconds: number): Promise<number> {
    this.#intervals = [];
    const warmUp = Math.ceil(warmUpSeconds / intervalSeconds);
    const wanted = Math.max(1, Math.round(seconds / intervalSeconds));
    const whole = () => this.#intervals.filter(isWhole).slice(warmUp, warmUp + wanted);
    this.#child.kill("SIGCONT");
    await this.#until(() => whole().length === wanted);
    this.stop();
    return whole().reduce((sum, interval) => sum + interval.bitsPerSecond, 0) / wanted;
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#child.exitCode !== null) throw new Error(`iperf3 ended with exit code ${this.#child.exitCode}`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGCONT");
    await end(this.#child);
  }
}

function inNamespace(namespace: string, args: readonly string[]): ChildProcessByStdio<null, Readable, Readable> {
  return spawn("ip", ["netns", "exec", namespace, "iperf3", ...args], { stdio: ["ignore", "pipe", "pipe"] });
}

function firstLine(child: ChildProcessByStdio<null, Readable, Readable>, expected: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("iperf3 does not listen")), startTimeoutMs);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`iperf3 ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (!expected.test(line)) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

function end(child: ChildProcessByStdio<null, Readable, Readable>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGTERM");
  });
}
