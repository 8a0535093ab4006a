/** A network namespace for one test file, and scripts that run in it: a process belongs to one namespace all its life. */
import { execFile, execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const scriptTimeoutMs = 30_000;
const maxOutputBytes = 16 * 1024 * 1024;

export class Namespace implements Disposable {
  readonly name: string;

  /** @param label of the test; its process number keeps runs apart */
  constructor(label: string) {
    this.name = `baton-t-${label}-${process.pid}`;
    execFileSync("ip", ["netns", "add", this.name]);
    this.ip("link set lo up");
  }

  /** Arguments of `ip`, parted by spaces. */
  ip(args: string): string {
    return execFileSync("ip", ["-n", this.name, ...args.split(" ")], { encoding: "utf8" });
  }

  exec(command: string, ...args: readonly string[]): string {
    return execFileSync("ip", ["netns", "exec", this.name, command, ...args], { encoding: "utf8" });
  }

  /** Joins two namespaces by a cable, up, and gives each end an address. */
  connect(device: string, address: string, other: Namespace, otherDevice: string, otherAddress: string): void {
    this.ip(`link add ${device} type veth peer name ${otherDevice} netns ${other.name}`);
    this.ip(`addr add ${address} dev ${device}`);
    other.ip(`addr add ${otherAddress} dev ${otherDevice}`);
    this.ip(`link set ${device} up`);
    other.ip(`link set ${otherDevice} up`);
  }

  /** The JSON that a script of this directory prints. Rejects, with what it said, when it fails. */
  async script<T>(file: string, ...args: readonly string[]): Promise<T> {
    const path = fileURLToPath(new URL(file, import.meta.url));
    const command = ["netns", "exec", this.name, process.execPath, path, ...args];
    const { stdout } = await run("ip", command, { timeout: scriptTimeoutMs, maxBuffer: maxOutputBytes });
    return JSON.parse(stdout) as T;
  }

  [Symbol.dispose](): void {
    execFileSync("ip", ["netns", "del", this.name]);
  }
}
