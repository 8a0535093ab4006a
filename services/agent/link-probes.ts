/**
 * Asks the kernels of the instances whose flows are followed here whether they are there: an echo request through each
 * channel, every {@link intervalMs}. The answer is the other kernel's alone, routed by the rules that return traffic
 * takes; the kernel here counts it. So a dead agent is told from a dead host.
 */
import { type MarkLayout, packetMark } from "../../src/dataplane/mark.ts";
import { buildEchoRequest } from "../../src/dataplane/packet.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { RawSendOutcome } from "../../src/kernel/raw-socket.ts";
import type { AgentState, LinkId } from "../../src/node/state.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";

export interface LinkProbesParts {
  readonly marks: MarkLayout;
  readonly socket: { send(packet: Uint8Array, destination: IpAddress, mark: number): RawSendOutcome };
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly log: Logger;
}

const intervalMs = 1_000;
const sequenceMask = 0xffff;

export class LinkProbes {
  readonly #parts: LinkProbesParts;
  #sent: ReadonlyMap<LinkId, bigint> = new Map();
  #dueMs = 0;

  constructor(parts: LinkProbesParts) {
    this.#parts = parts;
  }

  /** Sends what is due. What can't be sent is not counted, so it proves nothing. */
  send({ links, probeSource }: AgentState): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (nowMs < this.#dueMs) return;
    this.#dueMs = nowMs + intervalMs;
    const followed = links.filter((link) => !link.ownerEnd);
    this.#sent = new Map(
      followed.map(({ id, peerPrivate }) => {
        const sent = this.sent(id);
        const sequence = Number(sent) & sequenceMask;
        const packet = buildEchoRequest({ source: probeSource, destination: peerPrivate, identifier: id, sequence });
        const outcome = this.#parts.socket.send(packet, peerPrivate, packetMark(this.#parts.marks, "probe", id));
        if (!outcome.ok) this.#parts.log.warn({ link: id, errno: outcome.errno }, "a channel can't be probed");
        return [id, outcome.ok ? sent + 1n : sent];
      }),
    );
  }

  /** Of this run. */
  sent(link: LinkId): bigint {
    return this.#sent.get(link) ?? 0n;
  }
}
