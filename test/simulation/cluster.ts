/**
 * Many members in one process: their machines, the network between them and what their processes suffer.
 *
 * Owns the clock, which jumps from event to event, and all nodes. No real time and no chance but the seed's.
 */
import type { GossipConfig } from "../../src/gossip/config.ts";
import type { Effect } from "../../src/gossip/effect.ts";
import type { MemberAddress, MemberEvent } from "../../src/gossip/member.ts";
import type { StreamMessage } from "../../src/gossip/message.ts";
import type { Dial } from "./dial.ts";
import type { Delivery, SimulationEvent } from "./event.ts";
import { EventHeap } from "./event-heap.ts";
import type { Network } from "./network.ts";
import { addressOf, SimulatedNode } from "./node.ts";
import type { Random } from "./random.ts";
import type { Fault } from "./scenario.ts";
import { TrafficMeter } from "./traffic-meter.ts";

export interface ClusterOptions {
  readonly nodes: number;
  readonly config: GossipConfig;
  readonly network: Network;
  readonly random: Random;
  readonly onEvent: (holder: number, event: MemberEvent, nowMs: number) => void;
  readonly onFault: (fault: Fault, nowMs: number) => void;
  /** A process is there again: started, or no longer stopped; or it is gone as it wished. */
  readonly onProcess: (node: number, change: "started" | "resumed" | "departed", nowMs: number) => void;
  readonly onSample: (nowMs: number) => void;
}

export const sampleEveryMs = 1000;

/** How much later than asked a timer fires on a healthy host, at most. */
const timerLateMaxMs = 1;
/** A load is told to the machine this often; it decides what becomes of it. */
const loadEveryMs = 10_000;
const seedCount = 3;
/** Until those who started together have said so, and are out of step with each other. Then comes time 0. */
const settleMs = 5_000;

export class Cluster {
  readonly nodes: readonly SimulatedNode[];
  readonly traffic: TrafficMeter;
  readonly #options: ClusterOptions;
  readonly #heap = new EventHeap<SimulationEvent>();
  readonly #indexes = new Map<MemberAddress, number>();
  readonly #random: Random;
  readonly #network: Network;
  #nowMs = -settleMs;
  #handled = 0;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#network = options.network;
    this.#random = options.random;
    this.traffic = new TrafficMeter();
    this.nodes = Array.from(
      { length: options.nodes },
      (_, index) => new SimulatedNode(index, options.config, options.random.fork(index)),
    );
    for (const node of this.nodes) this.#indexes.set(node.profile.address, node.index);
  }

  get handled(): number {
    return this.#handled;
  }

  /** A cluster that has been there for long: everybody knows everybody, and needs no seeds. */
  startSettled(): void {
    const profiles = this.nodes.map((node) => node.profile);
    for (const node of this.nodes) {
      this.#boot(node, []);
      node.machine.introduce(profiles, this.#nowMs);
      this.#heap.add(this.#nowMs + this.#random.next() * loadEveryMs, { kind: "load", node: node.index });
    }
    this.#heap.add(0, { kind: "sample" });
    this.runUntil(0);
    this.traffic.reset();
  }

  plan(atMs: number, fault: Fault): void {
    this.#heap.add(atMs, { kind: "fault", fault });
  }

  runUntil(endMs: number): void {
    for (let nextMs = this.#heap.nextMs; nextMs !== undefined && nextMs <= endMs; nextMs = this.#heap.nextMs) {
      this.#nowMs = nextMs;
      this.#handled++;
      this.#handle(this.#heap.take());
    }
    this.#nowMs = endMs;
  }

  #handle(event: SimulationEvent): void {
    switch (event.kind) {
      case "tick":
        this.#tick(this.#node(event.node), event.dueMs);
        break;
      case "fault":
        this.#suffer(event.fault);
        break;
      case "load":
        this.#changeLoad(this.#node(event.node));
        break;
      case "resume":
        this.#resume(this.#node(event.node), event.boot);
        break;
      case "sample":
        this.#options.onSample(this.#nowMs);
        this.#heap.add(this.#nowMs + sampleEveryMs, event);
        break;
      default:
        this.#deliver(event);
    }
  }

  #tick(node: SimulatedNode, dueMs: number): void {
    if (node.process !== "running" || node.tickDueMs !== dueMs) return;
    node.tickDueMs = Number.POSITIVE_INFINITY;
    this.#perform(node, node.machine.tick(this.#nowMs));
  }

  #changeLoad(node: SimulatedNode): void {
    if (node.process === "running") this.#perform(node, node.machine.setLoad(this.#random.next(), this.#nowMs));
    this.#heap.add(this.#nowMs + loadEveryMs, { kind: "load", node: node.index });
  }

  #deliver(delivery: Delivery): void {
    const node = this.#node(delivery.node);
    if (node.process === "stopped") node.queue(delivery);
    else this.#receive(node, delivery);
  }

  #receive(node: SimulatedNode, delivery: Delivery): void {
    switch (delivery.kind) {
      case "packet":
        if (node.process === "running")
          this.#perform(node, node.machine.receive(delivery.from, delivery.messages, this.#nowMs));
        break;
      case "stream":
        this.#receiveStream(node, delivery.dial, delivery.message);
        break;
      case "answer":
        this.#receiveAnswer(node, delivery.dial, delivery.message);
        break;
      case "dial-failed":
        if (this.#settles(node, delivery.dial))
          this.#perform(node, node.machine.dialFailed(delivery.dial.id, this.#nowMs));
        break;
      default:
        delivery satisfies never;
    }
  }

  #perform(node: SimulatedNode, effects: readonly Effect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case "send":
          this.#send(node, effect);
          break;
        case "dial":
          this.#dial(node, effect);
          break;
        case "event":
          this.#options.onEvent(node.index, effect.event, this.#nowMs);
          break;
        case "departed":
          node.ends();
          this.#options.onProcess(node.index, "departed", this.#nowMs);
          return;
        case "joined-cluster":
          break;
        default:
          effect satisfies never;
      }
    }
    this.#schedule(node);
  }

  /** A timer that is set already stays, if it is early enough. */
  #schedule(node: SimulatedNode): void {
    const dueMs = node.machine.nextDueMs;
    if (dueMs >= node.tickDueMs || dueMs === Number.POSITIVE_INFINITY) return;
    const tickMs = Math.max(this.#nowMs, dueMs) + this.#random.next() * timerLateMaxMs;
    if (tickMs >= node.tickDueMs) return;
    node.tickDueMs = tickMs;
    this.#heap.add(tickMs, { kind: "tick", node: node.index, dueMs: tickMs });
  }

  #send(node: SimulatedNode, { to, messages, bytes }: Extract<Effect, { kind: "send" }>): void {
    this.traffic.datagram(bytes);
    const target = this.#indexes.get(to);
    if (target === undefined) return;
    for (const delayMs of this.#network.datagram(node.index, target, this.#nowMs))
      this.#heap.add(this.#nowMs + delayMs, { kind: "packet", node: target, from: node.profile.address, messages });
  }

  #dial(node: SimulatedNode, { id, to, message, timeoutMs }: Extract<Effect, { kind: "dial" }>): void {
    const callee = this.#indexes.get(to);
    const dial: Dial = { id, caller: node.index, callerBoot: node.boot, callee: callee ?? -1, settled: false };
    this.traffic.connection();
    this.#heap.add(this.#nowMs + timeoutMs, { kind: "dial-failed", node: node.index, dial });
    if (callee === undefined) return;
    const thereMs = this.#network.segment(node.index, callee, this.#nowMs);
    const backMs = this.#network.segment(callee, node.index, this.#nowMs);
    if (thereMs === undefined || backMs === undefined) return;
    const connectedMs = this.#nowMs + thereMs + backMs;
    if (this.#node(callee).process === "down") {
      this.#heap.add(connectedMs, { kind: "dial-failed", node: node.index, dial });
      return;
    }
    this.traffic.stream(message);
    this.#heap.add(connectedMs + thereMs, { kind: "stream", node: callee, dial, message });
  }

  #receiveStream(node: SimulatedNode, dial: Dial, message: StreamMessage): void {
    if (node.process === "down") {
      this.#reply(dial, undefined);
      return;
    }
    const { reply, effects } = node.machine.receiveStream(addressOf(dial.caller), message, this.#nowMs);
    this.#perform(node, effects);
    this.#reply(dial, reply);
  }

  #reply(dial: Dial, message: StreamMessage | undefined): void {
    const delayMs = this.#network.segment(dial.callee, dial.caller, this.#nowMs);
    if (delayMs === undefined || dial.settled) return;
    const atMs = this.#nowMs + delayMs;
    if (message !== undefined) this.traffic.stream(message);
    const end = { node: dial.caller, dial } as const;
    this.#heap.add(atMs, message === undefined ? { kind: "dial-failed", ...end } : { kind: "answer", message, ...end });
  }

  #receiveAnswer(node: SimulatedNode, dial: Dial, message: StreamMessage): void {
    if (!this.#settles(node, dial)) return;
    const { reply, effects } = node.machine.dialAnswered(dial.id, message, this.#nowMs);
    this.#perform(node, effects);
    const delayMs = reply === undefined ? undefined : this.#network.segment(dial.caller, dial.callee, this.#nowMs);
    if (reply === undefined || delayMs === undefined) return;
    this.traffic.stream(reply);
    this.#heap.add(this.#nowMs + delayMs, { kind: "stream", node: dial.callee, dial, message: reply });
  }

  /** False: the caller knows already, or its process is another one now. */
  #settles(node: SimulatedNode, dial: Dial): boolean {
    if (dial.settled || node.process !== "running" || node.boot !== dial.callerBoot) return false;
    dial.settled = true;
    return true;
  }

  #suffer(fault: Fault): void {
    this.#options.onFault(fault, this.#nowMs);
    if (!("nodes" in fault)) {
      this.#network.suffer(fault);
      return;
    }
    for (const index of fault.nodes) {
      const node = this.#node(index);
      switch (fault.kind) {
        case "crash":
          node.ends();
          break;
        case "start":
          this.#start(node);
          break;
        case "leave":
          this.#perform(node, node.machine.leave(this.#nowMs));
          break;
        case "pause":
          this.#pause(node, fault.forMs, fault.datagrams === "wait");
          break;
        case "hold":
          this.#network.hold(index, this.#nowMs + fault.forMs);
          break;
        case "block-udp":
          this.#network.blockUdp(index, fault.blocked);
          break;
        case "slow":
          this.#network.slowDown(index, fault.extraDelayMs);
          break;
        default:
          fault satisfies never;
      }
    }
  }

  #start(node: SimulatedNode): void {
    if (node.process !== "down") return;
    this.#boot(node, this.#seeds(node.index));
    this.#options.onProcess(node.index, "started", this.#nowMs);
  }

  #pause(node: SimulatedNode, forMs: number, keepsDatagrams: boolean): void {
    if (node.process !== "running") return;
    node.stops(keepsDatagrams);
    this.#heap.add(this.#nowMs + forMs, { kind: "resume", node: node.index, boot: node.boot });
  }

  /** What was missed comes at once. Whether timers or sockets come first is the event loop's whim, and so chance here. */
  #resume(node: SimulatedNode, boot: number): void {
    if (node.process !== "stopped" || node.boot !== boot) return;
    node.process = "running";
    this.#options.onProcess(node.index, "resumed", this.#nowMs);
    const timersFirst = this.#random.chance(0.5);
    if (timersFirst) this.#perform(node, node.machine.tick(this.#nowMs));
    for (const delivery of node.drain()) this.#deliver(delivery);
    if (!timersFirst) this.#perform(node, node.machine.tick(this.#nowMs));
  }

  #boot(node: SimulatedNode, seeds: readonly MemberAddress[]): void {
    node.boots(this.#options.config, seeds);
    this.#perform(node, node.machine.start(this.#nowMs));
  }

  #seeds(index: number): readonly MemberAddress[] {
    return Array.from({ length: seedCount + 1 }, (_, seed) => seed)
      .filter((seed) => seed !== index && seed < this.nodes.length)
      .slice(0, seedCount)
      .map(addressOf);
  }

  #node(index: number): SimulatedNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`no node ${index}`);
    return node;
  }
}
