/**
 * Takes remaps from step to step through the pure machine, and does what the machine asks for.
 *
 * Invariant: the remaps that a step of one may change are looked at again, each until nothing changes any more; one that is
 * being written is looked at when its write is done.
 */
import type { ShardPosition } from "../node/state.ts";
import { step } from "../remap/machine.ts";
import { hasEnded } from "../remap/phase.ts";
import type { RemapRecord, RemapState } from "../remap/record.ts";
import type { Bounds, Effect, RemapEvent, Step } from "../remap/transition.ts";
import { remapOf } from "../remap/view.ts";
import type { Logger } from "../runtime/log.ts";
import type { ClusterState } from "./cluster-state.ts";
import { Inquiries } from "./inquiries.ts";
import { type Answer, type Audit, accept, type ConductorPorts, reject } from "./ports.ts";
import { type Outcome, RemapWrites, type Request } from "./remap-writes.ts";
import { noLongerLeader, type Tenure } from "./tenure.ts";

/** Rounds in which one change may cause another; more would be a circle in the machine. */
const roundsMax = 100_000;

export class RemapSteps {
  readonly #cluster: ClusterState;
  readonly #ports: ConductorPorts;
  readonly #bounds: Bounds;
  readonly #log: Logger;
  readonly #tenure: Tenure;
  readonly #inquiries: Inquiries;
  readonly #writes: RemapWrites;
  readonly #dirty = new Set<string>();
  /** Steps of open remaps that the log has told of. */
  readonly #logged = new Map<string, number>();
  #pumping = false;

  constructor(cluster: ClusterState, ports: ConductorPorts, bounds: Bounds, log: Logger, tenure: Tenure) {
    this.#cluster = cluster;
    this.#ports = ports;
    this.#bounds = bounds;
    this.#log = log;
    this.#tenure = tenure;
    this.#inquiries = new Inquiries(ports, (id, event) => this.#dispatch(id, { event }));
    this.#writes = new RemapWrites(ports.store, tenure);
    tenure.onStop(() => this.#inquiries.stop());
  }

  /** Looks at these remaps, and at what follows from it. */
  observe(ids: Iterable<string>): void {
    for (const id of ids) this.#dirty.add(id);
    this.#pump();
  }

  command(id: string, event: RemapEvent, audit: Audit): Promise<Answer<Outcome>> {
    const { promise, resolve } = Promise.withResolvers<Answer<Outcome>>();
    const refusal = this.#writes.refusal(id);
    if (refusal !== undefined) resolve(reject(refusal));
    else this.#dispatch(id, { event, audit, answer: resolve });
    return promise;
  }

  /** Puts a remap's state in force, and tells whoever has to know. */
  commit(state: RemapState): void {
    const { record } = state;
    this.#cluster.putRemap(state);
    const agents = [record.source, record.target, ...record.owners.map(({ owner }) => owner)];
    const siblings = this.#cluster.remapsOf(record.address).filter((other) => !hasEnded(other.record));
    const related = siblings.flatMap((other) => [other.record.source, other.record.target]);
    const { holder } = this.#cluster.view(state).later;
    this.#cluster.project([...agents, holder, ...related], true);
    for (const other of siblings) if (other.record.id !== record.id) this.#dirty.add(other.record.id);
    if (this.#logged.get(record.id) !== record.step) {
      this.#logged.set(record.id, record.step);
      this.#log.info({ remap: record.id, address: record.address, ...describe(record) }, "remap moved on");
    }
    if (hasEnded(record)) this.#logged.delete(record.id);
    this.#ports.events.remapChanged(remapOf(state), record.step);
  }

  #pump(): void {
    if (this.#pumping || this.#tenure.isOver()) return;
    this.#pumping = true;
    try {
      for (let round = 0; this.#dirty.size > 0 && !this.#tenure.stopped; round++) {
        if (round > roundsMax) throw new Error("remaps change each other without end");
        const [id] = this.#dirty;
        if (id === undefined) return;
        this.#dirty.delete(id);
        if (!this.#writes.isWriting(id)) this.#step(id, { event: { kind: "observed" } });
      }
    } finally {
      this.#pumping = false;
    }
  }

  #dispatch(id: string, request: Request): void {
    if (this.#writes.queue(id, request)) return;
    this.#step(id, request);
    this.observe([id]);
  }

  #step(id: string, { event, audit, answer }: Request): void {
    const state = this.#cluster.remaps.get(id);
    if (state === undefined || this.#tenure.isOver()) {
      answer?.(reject(state === undefined ? unknownRemap(id) : noLongerLeader));
      return;
    }
    // Of a remap that has ended the address may have been removed since.
    if (this.#cluster.chain(state.record.address) === undefined) {
      answer?.(reject(addressGone(state.record)));
      return;
    }
    const result = this.#transition(state, event);
    if (result.refusal !== undefined) {
      answer?.(reject(result.refusal));
      return;
    }
    const outcome = { state: result.state, back: result.effects.some(({ kind }) => kind === "remap-back") };
    if (result.effects.some(({ kind }) => kind === "store")) {
      void this.#storeThenCommit(result, audit).then((stored) =>
        answer?.(stored ? accept(outcome) : reject(storeLost)),
      );
      return;
    }
    this.#commitIfChanged(state, result.state);
    for (const effect of result.effects) this.#perform(effect, result.state);
    if (audit !== undefined) this.#ports.events.audit({ ...audit, atMs: this.#ports.clock.nowMs() });
    answer?.(accept(outcome));
  }

  async #storeThenCommit({ state, effects }: Step, audit?: Audit): Promise<boolean> {
    const { id } = state.record;
    const places = effects.flatMap((effect) => (effect.kind === "place" ? [effect.record] : []));
    if (!(await this.#writes.write(state.record, places, audit))) return false;
    const waiting = this.#writes.done(id);
    for (const record of places) this.#cluster.apply({ kind: "address-set", record });
    this.#cluster.putRemap(state);
    this.commit(this.#transition(state, { kind: "committed" }).state);
    for (const request of waiting) this.#dispatch(id, request);
    this.observe(this.#cluster.openRemaps().map(({ record }) => record.id));
    return true;
  }

  #transition(state: RemapState, event: RemapEvent): Step {
    const { clock } = this.#ports;
    const now = { wallMs: clock.nowMs(), monotonicMs: clock.monotonicMs() };
    return step(state, event, { view: this.#cluster.view(state), now, bounds: this.#bounds });
  }

  /** What was only noted in memory changes nobody's orders, but for proofs, which wait until both ends are up. */
  #commitIfChanged(before: RemapState, state: RemapState): void {
    if (before === state) return;
    if (before.record !== state.record || before.live.linksUp !== state.live.linksUp) this.commit(state);
    else this.#cluster.putRemap(state);
    this.#ports.events.remapChanged(remapOf(state), state.record.step);
  }

  #perform(effect: Effect, state: RemapState): void {
    const { id, address, source, target, generation } = state.record;
    switch (effect.kind) {
      case "store-after":
        this.#writes.writeAfter(state.record);
        return;
      case "barrier":
        this.#inquiries.barrier(id, effect.id, effect.positions as readonly ShardPosition[]);
        return;
      case "count":
        this.#inquiries.count(id, address, source);
        return;
      case "own":
        this.#inquiries.own(id, address, target, generation);
        return;
      case "store":
      case "place":
      case "remap-back":
        return;
      default:
        effect satisfies never;
    }
  }
}

const storeLost = {
  code: "STORE_UNAVAILABLE",
  message: "the store did not take the change, so whether it holds is not known: ask another coordinator",
} as const;

function unknownRemap(id: string) {
  return { code: "UNKNOWN_REMAP", message: `there is no remap ${id}: baton remaps list shows all` } as const;
}

function addressGone({ id, address, phase: { kind } }: RemapRecord) {
  return { code: "UNKNOWN_ADDRESS", message: `remap ${id} is ${kind}, and ${address} is no longer mapped` } as const;
}

function describe({ phase, step: number }: RemapRecord): Readonly<Record<string, string | number>> {
  const stage = phase.kind === "switching" ? { stage: phase.stage } : {};
  const why = phase.kind === "aborting" ? { code: phase.why.code, why: phase.why.message } : {};
  return { phase: phase.kind, ...stage, ...why, step: number };
}
