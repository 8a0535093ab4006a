/**
 * Packets of connections that nobody here knows: the kernel hands over a copy of each header, the tracker is asked, and
 * what it knows to be an owner's enters that owner's set. The packet itself went its way by the policy already.
 */
import { addFlows } from "../../src/dataplane/elements.ts";
import { parseTcpPacket } from "../../src/dataplane/packet.ts";
import type { FlowAnswer } from "../../src/flow/answer.ts";
import type { Flow, FlowKey } from "../../src/flow/flow.ts";
import { flowKeyText } from "../../src/flow/flow.ts";
import type { AgentState } from "../../src/node/state.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { BoundedQueue } from "../../src/runtime/queue.ts";

export interface UnknownPacketsParts {
  /** What the tracker knows of the flows, in the order of the keys. */
  lookup(keys: readonly FlowKey[], signal: AbortSignal): Promise<readonly FlowAnswer[]>;
  run(commands: string): void;
  readonly log: Logger;
}

/** Keys that wait for an answer; more are not asked for, their connections repeat their packets. */
const waitingMax = 4_096;

export class UnknownPackets {
  readonly #parts: UnknownPacketsParts;
  readonly #waiting = new BoundedQueue<FlowKey>(waitingMax);
  #state: AgentState | undefined;
  dropped = 0;

  constructor(parts: UnknownPacketsParts) {
    this.#parts = parts;
  }

  watch(state: AgentState): void {
    this.#state = state;
  }

  /** A header copy, from the IP header on. */
  onPacket(header: Uint8Array): void {
    const packet = parseTcpPacket(header);
    const address = this.#state?.addresses.find((candidate) => candidate.private === packet?.destination);
    if (packet === undefined || address === undefined) return;
    const { source: peer, sourcePort: peerPort, destinationPort: port } = packet;
    if (!this.#waiting.push({ address: address.address, protocol: "tcp", peer, peerPort, port })) this.dropped++;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const taken = await this.#waiting.takeAll(signal);
      const keys = [...new Map(taken.map((key) => [flowKeyText(key), key])).values()];
      try {
        const answers = await this.#parts.lookup(keys, signal);
        this.#learn(answers.flatMap((answer) => (answer.kind === "owned" ? [answer.flow] : [])));
      } catch (error) {
        signal.throwIfAborted();
        this.#parts.log.warn({ error, keys: keys.length }, "the tracker could not be asked about unknown packets");
      }
    }
  }

  #learn(flows: readonly Flow[]): void {
    for (const address of this.#state?.addresses ?? []) {
      for (const follow of address.follows) {
        const owned = flows.filter((flow) => flow.key.address === address.address && flow.owner === follow.owner);
        const commands = addFlows(
          "follow",
          follow.link,
          owned.map((flow) => flow.key),
        );
        if (commands !== "") this.#parts.run(commands);
      }
    }
  }
}
