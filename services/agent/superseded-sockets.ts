/**
 * Sockets whose connection is superseded: the tracker knows a younger connection of the same ends at the address's new
 * holder. Their client has vanished and come back, and nobody will ever speak to them again.
 *
 * Only that positive evidence counts. What they send when they are reset is dropped at the holder, which has the tuple
 * among the handshakes that it took itself.
 */
import type { FlowAnswer } from "../../src/flow/answer.ts";
import type { FlowKey } from "../../src/flow/flow.ts";
import type { TcpSocket } from "../../src/kernel/sock-diag-codec.ts";
import type { AgentAddress } from "../../src/node/state.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";

export interface SupersededSocketsParts {
  readonly instance: string;
  lookup(keys: readonly FlowKey[], signal: AbortSignal): Promise<readonly FlowAnswer[]>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Well below the time for which the holder remembers a handshake that it took. */
const intervalMs = 2_000;
const keysMax = 1_000;
const lookupTimeoutMs = 1_000;

export class SupersededSockets {
  readonly #parts: SupersededSocketsParts;
  #dueMs = 0;
  #next = 0;

  constructor(parts: SupersededSocketsParts) {
    this.#parts = parts;
  }

  /** Asks for at most {@link keysMax} each time, for all in turn. */
  async among(sockets: readonly TcpSocket[], address: AgentAddress): Promise<readonly TcpSocket[]> {
    const nowMs = this.#parts.clock.monotonicMs();
    if (sockets.length === 0 || nowMs < this.#dueMs) return [];
    this.#dueMs = nowMs + intervalMs;
    if (this.#next >= sockets.length) this.#next = 0;
    const asked = sockets.slice(this.#next, this.#next + keysMax);
    this.#next += asked.length;
    const keys = asked.map(
      ({ remote: peer, remotePort: peerPort, localPort: port }): FlowKey => ({
        address: address.address,
        protocol: "tcp",
        peer,
        peerPort,
        port,
      }),
    );
    try {
      const answers = await this.#parts.lookup(keys, AbortSignal.timeout(lookupTimeoutMs));
      return asked.filter((_, index) => this.#isYounger(answers[index], address));
    } catch (error) {
      this.#parts.log.warn({ error }, "the tracker could not be asked for superseded connections");
      return [];
    }
  }

  #isYounger(answer: FlowAnswer | undefined, address: AgentAddress): boolean {
    if (answer?.kind !== "owned") return false;
    return answer.flow.owner !== this.#parts.instance && answer.flow.generation > address.generation;
  }
}
