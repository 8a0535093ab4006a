/** Captures packets on a host's device by tcpdump, to be read by test/traffic/pcap.ts. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CapturedPacket, readPcap } from "../traffic/pcap.ts";
import type { LabFixture } from "./lab-fixture.ts";

/** Ethernet, IP and TCP headers with their options. */
const snapBytes = 128;
const bufferKilobytes = 65_536;
const startTimeoutMs = 10_000;

export class Capture implements AsyncDisposable {
  readonly #child: ReturnType<typeof spawn>;
  readonly #directory: string;
  readonly #file: string;
  #messages = "";

  private constructor(command: readonly string[]) {
    this.#directory = mkdtempSync(join(tmpdir(), "baton-capture-"));
    this.#file = join(this.#directory, "packets.pcap");
    const [program = "", ...args] = command;
    this.#child = spawn(program, [...args, "-w", this.#file], { stdio: ["ignore", "ignore", "pipe"] });
    this.#child.stderr?.on("data", (piece: Buffer) => {
      this.#messages += piece.toString();
    });
  }

  /** Resolves when packets are being captured. `filter`: of pcap-filter(7). */
  static async start(fixture: LabFixture, host: string, device: string, filter: string): Promise<Capture> {
    // At once: what waits in the kernel's ring, for up to a second, would be lost at the end.
    const options = [
      "-n",
      "-U",
      "--immediate-mode",
      "-Z",
      "root",
      "-s",
      String(snapBytes),
      "-B",
      String(bufferKilobytes),
      "-i",
      device,
    ];
    const capture = new Capture([...fixture.inside(host), "tcpdump", ...options, filter]);
    await capture.#listening();
    return capture;
  }

  /** Ends it. Fails when the kernel could not keep up: what is missing proves nothing. */
  async packets(): Promise<CapturedPacket[]> {
    await this.#end();
    const dropped = Number(/(\d+) packets? dropped by kernel/.exec(this.#messages)?.[1] ?? Number.NaN);
    if (dropped !== 0) throw new Error(`the capture is not whole: ${this.#messages}`);
    return [...readPcap(readFileSync(this.#file))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #listening(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`tcpdump does not listen: ${this.#messages}`)), startTimeoutMs);
      this.#child.once("error", reject);
      this.#child.once("exit", () => reject(new Error(`tcpdump has ended: ${this.#messages}`)));
      this.#child.stderr?.on("data", () => {
        if (!this.#messages.includes("listening on")) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      this.#child.once("close", () => resolve());
      this.#child.kill("SIGINT");
    });
  }
}
