/** The open connections of a public address, as this host's kernel shows them; listed in slices, on sockets of their own. */
import type { IpAddress } from "../../src/flow/address.ts";
import { createVantage, isTranslated, observeConntrack, observeSocket, type Vantage } from "../../src/flow/observe.ts";
import type { SilenceSample } from "../../src/flow/silence.ts";
import { openConntrack, streamConntrack } from "../../src/kernel/conntrack.ts";
import { openSockDiag, streamTcpSockets } from "../../src/kernel/sock-diag.ts";
import type { TcpActivity, TcpSocket } from "../../src/kernel/sock-diag-codec.ts";
import type { AgentAddress, AgentState } from "../../src/node/state.ts";
import { eachInSlices } from "../../src/runtime/slices.ts";

/** With external peers only. One call at a time. */
export interface OpenConnections {
  /** Half-open and half-closed ones too, but none that this host itself is only trying to open. */
  sockets(address: AgentAddress, state: AgentState): Promise<readonly TcpSocket[]>;
  /** At this private address, whatever it is to the state. */
  socketsAt(own: IpAddress, state: AgentState): Promise<readonly TcpSocket[]>;
  /** Those for which this host translates addresses: they end elsewhere. */
  translated(address: AgentAddress, state: AgentState): Promise<number>;
}

const sliceMs = 4;
const socketsPerLook = 32;

export class KernelConnections implements OpenConnections, Disposable {
  readonly #resources = new DisposableStack();
  readonly #conntrack = this.#resources.use(openConntrack());
  readonly #sockets = this.#resources.use(openSockDiag());
  readonly #closed = new AbortController();

  sockets(address: AgentAddress, state: AgentState): Promise<readonly TcpSocket[]> {
    return this.#list(address.private, vantageOf(address, state));
  }

  socketsAt(own: IpAddress, state: AgentState): Promise<readonly TcpSocket[]> {
    return this.#list(own, vantageOf({ private: own, address: own, generation: 0n }, state));
  }

  async translated(address: AgentAddress, state: AgentState): Promise<number> {
    const vantage = vantageOf(address, state);
    const { signal } = this.#closed;
    let live = 0;
    const tables = streamConntrack(this.#conntrack, { localAddress: address.private });
    await eachInSlices(
      tables,
      (records) => {
        for (const record of records)
          if (isTranslated(record) && (observeConntrack(record, vantage)?.state ?? "closed") !== "closed") live++;
      },
      { sliceMs, signal },
    );
    return live;
  }

  [Symbol.dispose](): void {
    this.#closed.abort(new Error("the agent ends"));
    this.#resources.dispose();
  }

  async #list(own: IpAddress, vantage: Vantage): Promise<readonly TcpSocket[]> {
    const { signal } = this.#closed;
    signal.throwIfAborted();
    const open: TcpSocket[] = [];
    const take = (socket: TcpSocket | undefined) => {
      if (socket !== undefined && isOpen(socket, vantage)) open.push(socket);
    };
    const sockets = streamTcpSockets(this.#sockets, { localAddress: own });
    await eachInSlices(sockets, take, { sliceMs, itemsPerLook: socketsPerLook, signal });
    return open;
  }
}

/** How long each of them has been silent, of those with an external peer. */
export function externalActivity(
  activities: readonly TcpActivity[],
  address: AgentAddress,
  state: AgentState,
): readonly SilenceSample[] {
  const { internal } = vantageOf(address, state);
  return activities.flatMap(({ cookie, remote, idleMs }) =>
    internal.contains(remote) ? [] : [{ flow: cookie, idleMs }],
  );
}

export function isOpen(socket: TcpSocket, vantage: Vantage): boolean {
  const change = observeSocket(socket, vantage);
  return change !== undefined && change.state !== "closed" && socket.state !== "SYN_SENT";
}

export function vantageOf(
  { private: own, address, generation }: Pick<AgentAddress, "private" | "address" | "generation">,
  state: AgentState,
): Vantage {
  const owned = new Map([[own, { address, generation }]]);
  return createVantage(owned, [...state.fabric, { address: state.probeSource, length: 32 }]);
}
