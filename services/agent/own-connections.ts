/**
 * What is this host's own whatever arrives, kept in the kernel's sets: connections that were here before it began to follow
 * another's, and ports that a listener of its own is bound to.
 */
import { addFlows, setBoundPorts } from "../../src/dataplane/elements.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { FlowKey } from "../../src/flow/flow.ts";
import type { SocketSighting } from "../../src/flow/observe.ts";
import type { AgentAddress, AgentState } from "../../src/node/state.ts";
import type { KernelState } from "./kernel-state.ts";

export interface OwnConnectionsParts {
  readonly kernel: Pick<KernelState, "run">;
  /** Ports with a listener bound to this very address. */
  boundPorts(address: IpAddress): readonly number[];
  /** Connections of this address, whichever their other end. */
  sockets(address: IpAddress): readonly SocketSighting[];
}

export class OwnConnections {
  readonly #parts: OwnConnectionsParts;
  /** What the kernel was told last, by private address. */
  readonly #bound = new Map<IpAddress, string>();

  constructor(parts: OwnConnectionsParts) {
    this.#parts = parts;
  }

  /** Connections that are here already stay this host's own, also if tracking should forget them. */
  keep(address: AgentAddress): void {
    const sockets = this.#parts.sockets(address.private).filter((socket) => socket.state !== "TIME_WAIT");
    const keys = sockets.map(
      ({ localPort, remote, remotePort }): FlowKey => ({
        address: address.address,
        protocol: "tcp",
        peer: remote,
        peerPort: remotePort,
        port: localPort,
      }),
    );
    for (const follow of address.follows) {
      const commands = addFlows("own", follow.link, keys);
      if (commands !== "") this.#parts.kernel.run(commands);
    }
  }

  /** Tells the kernel of listeners that have come or gone. */
  syncBoundPorts(state: AgentState): void {
    for (const { private: own } of state.addresses) {
      const commands = setBoundPorts(own, this.#parts.boundPorts(own));
      if (this.#bound.get(own) === commands) continue;
      this.#parts.kernel.run(commands);
      this.#bound.set(own, commands);
    }
    for (const own of this.#bound.keys())
      if (!state.addresses.some((address) => address.private === own)) this.#bound.delete(own);
  }

  /** The kernel has lost what it was told. */
  forget(): void {
    this.#bound.clear();
  }
}
