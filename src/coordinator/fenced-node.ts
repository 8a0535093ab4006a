/**
 * One node under one leader: what it is given, under which fence, and what it has acknowledged.
 *
 * Invariants: a generation goes up exactly when the state's digest differs from the last one given; it is always above
 * what the node has ever reported, so that a store which lost writes can't make it go back; a state is sent
 * again only when term or content are new to the node; nothing is sent while the node holds a state that the store can't
 * explain (invariant F7), and what it reports meanwhile counts for nothing.
 */
import type { Fence } from "../node/fence.ts";
import type { AgentState, GatewayState } from "../node/state.ts";
import { emptyStatus, type NodeHello, type NodeKind, type NodeStatus } from "../node/status.ts";
import type { NodeFacts } from "../remap/world.ts";
import type { DetailedError } from "../rpc/errors.ts";
import { digestOfState } from "../rpc/fields.ts";
import { agentStateBytes, type DesiredState, gatewayStateBytes } from "../rpc/node-codec.ts";
import { describeHost, isSameHost } from "./same-host.ts";
import type { FenceOrigin, OwnTerm, TermHistory } from "./term-history.ts";

/** The coordinator's end of a node's stream. */
export interface NodeSession {
  send(desired: DesiredState): void;
  end(error: DetailedError): void;
}

export interface Leadership extends OwnTerm {
  readonly history: TermHistory;
}

/** States given before that an acknowledgement may still be about. */
const rememberedStatesMax = 16;

export type Content =
  | { readonly kind: "agent"; readonly state: AgentState }
  | { readonly kind: "gateway"; readonly state: GatewayState };

export class FencedNode {
  readonly name: string;
  readonly kind: NodeKind;
  readonly #leadership: Leadership;
  readonly #given = new Map<bigint, Content>();
  #session: NodeSession | undefined;
  #hello: NodeHello | undefined;
  #held: Fence | undefined;
  #desired: { readonly fence: Fence; readonly content: Content } | undefined;
  #applied: Content | undefined;
  #status: NodeStatus = emptyStatus;
  #unexplained: Extract<FenceOrigin, { kind: "unexplained" }> | undefined;
  #lastSeenMs: number | undefined;

  constructor(name: string, kind: NodeKind, leadership: Leadership) {
    this.name = name;
    this.kind = kind;
    this.#leadership = leadership;
  }

  get connected(): boolean {
    return this.#session !== undefined;
  }

  get lastSeenMs(): number | undefined {
    return this.#lastSeenMs;
  }

  get hello(): NodeHello | undefined {
    return this.#hello;
  }

  /** Why the node, which is connected, gets no orders: its state is none of this store's. */
  get unexplained(): string | undefined {
    return this.#session === undefined ? undefined : this.#unexplained?.reason;
  }

  /** An operator may let it have its orders nevertheless. */
  get acceptable(): boolean {
    return this.#unexplained?.acceptable === true;
  }

  /** It has acknowledged the newest state meant for it. */
  get current(): boolean {
    return this.#desired !== undefined && this.#applied === this.#desired.content;
  }

  /** Why the node may not connect now: another host has its name, and is there (invariant F6). */
  rivalOf(hello: NodeHello): string | undefined {
    const first = this.#session === undefined ? undefined : this.#hello;
    if (first === undefined || isSameHost(first, hello)) return undefined;
    return `${this.name} is connected from ${describeHost(first)}: give this node another name, or stop that one`;
  }

  /** A newer stream of the same node replaces the older one. Returns the fence that proves this leader stale. */
  connect(hello: NodeHello, session: NodeSession, nowMs: number): Fence | undefined {
    this.#session?.end({ code: "INVALID_ARGUMENT", message: `${this.name} has connected anew` });
    this.#session = session;
    this.#hello = hello;
    this.#held = hello.held;
    this.#status = emptyStatus;
    this.#applied = undefined;
    this.#lastSeenMs = nowMs;
    const origin = this.#judge();
    this.#resume();
    return origin.kind === "newer" ? hello.held : undefined;
  }

  /** False: the stream was replaced before. */
  disconnect(session: NodeSession): boolean {
    if (this.#session !== session) return false;
    this.#session = undefined;
    return true;
  }

  end(error: DetailedError): void {
    this.#session?.end(error);
    this.#session = undefined;
  }

  /** The fence that proves this leader stale, if the node has one. */
  report(session: NodeSession, status: NodeStatus, nowMs: number): Fence | undefined {
    if (this.#session !== session) return undefined;
    this.#status = status;
    this.#lastSeenMs = nowMs;
    const { applied } = status;
    if (applied === undefined) return undefined;
    this.#held = applied;
    const wasUnexplained = this.#unexplained !== undefined;
    const origin = this.#judge();
    if (origin.kind === "newer") return applied;
    if (origin.kind === "unexplained") return undefined;
    if (applied.term === this.#leadership.term) this.#applied = this.#contentOf(applied);
    if (wasUnexplained) this.#resume();
    else this.#raise(applied);
    return undefined;
  }

  /** Looks again whether the store can explain the node's state. True: now it can, and the node has its orders. */
  reconsider(): boolean {
    if (this.unexplained === undefined || this.#judge().kind !== "known") return false;
    this.#resume();
    return true;
  }

  /** The node should be so. Repeating it does nothing. */
  want(content: Content): void {
    const digest = digestOf(content);
    if (this.#desired?.fence.digest === digest) return;
    const held = this.#held;
    const last = this.#desired?.fence.generation ?? 0n;
    const base = held === undefined || held.generation < last ? last : held.generation;
    const same = held !== undefined && held.digest === digest && held.generation > last;
    const generation = same ? held.generation : base + 1n;
    const { term, name: leader, lease } = this.#leadership;
    this.#desired = { fence: { term, leader, lease, generation, digest }, content };
    this.#remember(generation, content);
    this.#resume();
  }

  facts(): NodeFacts<AgentState> | NodeFacts<GatewayState> {
    const status = this.#unexplained === undefined ? this.#status : emptyStatus;
    const common = {
      name: this.name,
      connected: this.connected,
      ...(this.#hello !== undefined && { hello: this.#hello }),
      status,
      faults: status.faults.filter(({ fence }) => fence === undefined || this.#isDesired(fence)),
    };
    const facts = this.#applied === undefined ? common : { ...common, applied: this.#applied.state };
    return facts as NodeFacts<AgentState> | NodeFacts<GatewayState>;
  }

  #isDesired(fence: Fence): boolean {
    const wanted = this.#desired?.fence;
    return wanted !== undefined && fence.generation === wanted.generation && fence.digest === wanted.digest;
  }

  #judge(): FenceOrigin {
    const { history } = this.#leadership;
    const origin: FenceOrigin =
      this.#held === undefined ? { kind: "known" } : history.originOf(this.#held, this.#leadership);
    this.#unexplained = origin.kind === "unexplained" ? origin : undefined;
    return origin;
  }

  #isNewer(fence: Fence): boolean {
    return this.#leadership.history.originOf(fence, this.#leadership).kind === "newer";
  }

  /** Sends what is wanted, unless the node has said that it holds exactly this by order of this leader. */
  #resume(): void {
    const desired = this.#desired;
    if (this.#session === undefined || desired === undefined || this.#unexplained !== undefined) return;
    const held = this.#held;
    if (held !== undefined && this.#isNewer(held)) return;
    if (held !== undefined && this.#isDesired(held) && held.term === desired.fence.term) {
      this.#applied = desired.content;
      return;
    }
    if (held !== undefined && this.#raise(held)) return;
    this.#session.send({ ...desired.content, fence: desired.fence } as DesiredState);
  }

  /** Lifts the generation above one that the node holds with another content. True: sent again. */
  #raise(held: Fence): boolean {
    const desired = this.#desired;
    if (desired === undefined || held.generation < desired.fence.generation) return false;
    if (held.generation === desired.fence.generation && held.digest === desired.fence.digest) return false;
    const generation = held.digest === desired.fence.digest ? held.generation : held.generation + 1n;
    const fence = { ...desired.fence, generation };
    this.#desired = { ...desired, fence };
    this.#remember(generation, desired.content);
    this.#session?.send({ ...desired.content, fence } as DesiredState);
    return true;
  }

  #contentOf(fence: Fence): Content | undefined {
    const content = this.#given.get(fence.generation);
    return content !== undefined && digestOf(content) === fence.digest ? content : undefined;
  }

  #remember(generation: bigint, content: Content): void {
    this.#given.set(generation, content);
    for (const old of this.#given.keys()) {
      if (this.#given.size <= rememberedStatesMax) return;
      this.#given.delete(old);
    }
  }
}

const digests = new WeakMap<Content, string>();

function digestOf(content: Content): string {
  const known = digests.get(content);
  if (known !== undefined) return known;
  const bytes = content.kind === "agent" ? agentStateBytes(content.state) : gatewayStateBytes(content.state);
  const digest = digestOfState(bytes);
  digests.set(content, digest);
  return digest;
}
