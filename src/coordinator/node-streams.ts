/**
 * The nodes' streams under one leader: who connects, what it reports, who is turned away.
 *
 * What a node says counts at once; its first sight, or a new set of private addresses, is written down besides.
 */
import type { InventoryEntry } from "../inventory/inventory.ts";
import type { NodeHello, NodeStatus } from "../node/status.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/log.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { FencedNode, NodeSession } from "./fenced-node.ts";
import { noLongerLeader, type Tenure } from "./tenure.ts";

export interface NodeStreamsOptions {
  readonly cluster: ClusterState;
  readonly tenure: Tenure;
  readonly clock: Clock;
  readonly log: Logger;
  /** Stores an entry of the inventory and puts it in force. */
  readonly record: (entry: InventoryEntry) => void;
}

export class NodeStreams {
  readonly #options: NodeStreamsOptions;

  constructor(options: NodeStreamsOptions) {
    this.#options = options;
    options.tenure.onStop(() => this.#endAll());
  }

  /** True: the node is there, and has its orders. */
  connect(hello: NodeHello, session: NodeSession): boolean {
    const { cluster, tenure, clock, log } = this.#options;
    // A stream that nobody ends would keep the node here, without orders, for as long as this process lives.
    if (tenure.isOver()) return refuse(session, noLongerLeader);
    const node = cluster.node(hello.name, hello.kind);
    if (node.kind !== hello.kind) {
      const message = `${hello.name} is the name of an ${node.kind}: choose another`;
      return refuse(session, { code: "INVALID_ARGUMENT", message });
    }
    const rival = node.rivalOf(hello);
    if (rival !== undefined) {
      log.warn({ node: hello.name, from: hello.privateAddresses }, "a node is refused: another has its name");
      return refuse(session, { code: "INVALID_ARGUMENT", message: rival });
    }
    const newer = node.connect(hello, session, clock.nowMs());
    if (newer !== undefined) {
      tenure.lose(`${hello.name} obeys term ${newer.term} of ${newer.leader}`, newer.term);
      return false;
    }
    cluster.noteFacts(node);
    this.#noteHeldBack(node, undefined);
    this.#register(hello);
    cluster.projectNode(hello.name);
    log.info({ node: hello.name, kind: hello.kind, version: hello.version }, "node connected");
    return true;
  }

  /** The node whose report counts. */
  report(name: string, session: NodeSession, status: NodeStatus): FencedNode | undefined {
    const { cluster, tenure, clock } = this.#options;
    const node = cluster.nodes.get(name);
    if (tenure.isOver() || node === undefined) return undefined;
    const before = node.unexplained;
    const newer = node.report(session, status, clock.nowMs());
    if (newer !== undefined) {
      tenure.lose(`${name} obeys term ${newer.term} of ${newer.leader}`, newer.term);
      return undefined;
    }
    this.#noteHeldBack(node, before);
    cluster.noteFacts(node);
    return node;
  }

  /** The node that is gone; undefined: its stream was replaced before. */
  disconnect(name: string, session: NodeSession): FencedNode | undefined {
    const { cluster, tenure, log } = this.#options;
    const node = cluster.nodes.get(name);
    if (tenure.stopped || node === undefined || !node.disconnect(session)) return undefined;
    cluster.noteFacts(node);
    log.warn({ node: name }, "node disconnected");
    return node;
  }

  /** It may have connected while its removal was being stored; coming again makes it known again. */
  endRemoved(name: string): void {
    const message = `${name} was removed while it connected: connect again`;
    this.#options.cluster.nodes.get(name)?.end({ code: "INVALID_ARGUMENT", message });
  }

  #endAll(): void {
    for (const node of this.#options.cluster.nodes.values())
      node.end({ code: "NOT_LEADER", message: "this coordinator no longer leads: connect again" });
  }

  #noteHeldBack({ name, unexplained }: FencedNode, before: string | undefined): void {
    if (unexplained !== undefined && unexplained !== before)
      this.#options.log.error({ node: name }, `a node is held back, and gets no orders: ${unexplained}`);
  }

  #register({ name, kind, privateAddresses, version }: NodeHello): void {
    const { cluster, clock, record } = this.#options;
    const known = cluster.inventory.nodes.get(name);
    const same = known?.version === version && known.privateAddresses.join() === privateAddresses.join();
    if (same) return;
    const firstSeenMs = known?.firstSeenMs ?? clock.nowMs();
    record({ kind: "node-set", record: { name, kind, privateAddresses, version, firstSeenMs } });
  }
}

function refuse(session: NodeSession, error: Parameters<NodeSession["end"]>[0]): false {
  session.end(error);
  return false;
}
