/**
 * A network namespace beside the host's own network, joined to it by one link, which can be cut: from then on nothing that is
 * sent arrives on either side, and nobody is told. What runs inside goes on, and hears itself.
 */
import { runCommand, tryCommand } from "../../services/lab/command.ts";
import type { Place } from "./tracker-cluster.ts";

const link = "baton-cut0";
const outside = "10.78.99.1";
const inside = "10.78.99.2";
const drop = `
  table inet cut {
    chain arriving { type filter hook input priority 0; iifname "eth0" drop; }
    chain leaving { type filter hook output priority 0; oifname "eth0" drop; }
  }`;

export class CutNetwork implements AsyncDisposable {
  readonly outside: Place = { inside: [], host: outside };
  readonly inside: Place;
  readonly #name: string;

  private constructor(name: string) {
    this.#name = name;
    this.inside = { inside: ["ip", "netns", "exec", name], host: inside };
  }

  /** What a run that was killed has left under this name is removed before. */
  static async create(name: string): Promise<CutNetwork> {
    const network = new CutNetwork(name);
    await network.#remove();
    try {
      await runCommand("ip", ["netns", "add", name]);
      await runCommand("ip", ["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name]);
      await runCommand("ip", ["address", "add", `${outside}/30`, "dev", link]);
      await runCommand("ip", ["link", "set", link, "up"]);
      await network.#run("ip", "address", "add", `${inside}/30`, "dev", "eth0");
      await network.#run("ip", "link", "set", "eth0", "up");
      await network.#run("ip", "link", "set", "lo", "up");
    } catch (error) {
      await network.#remove();
      throw error;
    }
    return network;
  }

  async cut(): Promise<void> {
    await this.#run("nft", drop);
  }

  async heal(): Promise<void> {
    await this.#run("nft", "delete table inet cut");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#remove();
  }

  async #run(...command: readonly string[]): Promise<void> {
    await runCommand("ip", ["netns", "exec", this.#name, ...command]);
  }

  /** The link goes with either end. */
  async #remove(): Promise<void> {
    await tryCommand("ip", ["link", "delete", link]);
    await tryCommand("ip", ["netns", "delete", this.#name]);
  }
}
