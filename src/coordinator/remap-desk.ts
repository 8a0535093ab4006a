/**
 * Requests about remaps, as the leader answers them: create, look, abort, cut, release, move the deadline, preview.
 *
 * Creating is one at a time, so that two requests can't take the same private address or channel.
 */
import type { IpAddress } from "../flow/address.ts";
import type { BatonError } from "../remap/error.ts";
import { hasEnded } from "../remap/phase.ts";
import { type Plan, planRemap, type RemapRequest, startRemap } from "../remap/plan.ts";
import type { RemapState } from "../remap/record.ts";
import type { Remap, RemapPolicy } from "../remap/remap.ts";
import { remapOf } from "../remap/view.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { Conductor, RemapCommand } from "./conductor.ts";
import { type Answer, type Audit, type AuditEntry, accept, type ConductorPorts, reject } from "./ports.ts";
import type { Turns } from "./turns.ts";

/** Newest first. */
const listedMax = 1_000;

export class RemapDesk {
  readonly #cluster: ClusterState;
  readonly #conductor: Conductor;
  readonly #ports: ConductorPorts;
  readonly #turns: Turns;

  constructor(cluster: ClusterState, conductor: Conductor, ports: ConductorPorts, turns: Turns) {
    this.#cluster = cluster;
    this.#conductor = conductor;
    this.#ports = ports;
    this.#turns = turns;
  }

  create(request: RemapRequest): Promise<Answer<Remap>> {
    return this.#turns.take(async () => {
      const earlier = this.#byKey(request.idempotencyKey);
      if (earlier !== undefined) return sameWish(earlier, request);
      const plan = this.plan(request);
      const [refusal] = plan.refusals;
      if (plan.draft === undefined) return reject(refusal ?? { code: "INTERNAL", message: "no plan and no reason" });
      const record = startRemap(plan.draft, this.#ports.newId(), this.#ports.clock.nowMs());
      const { address, target } = record;
      const audit = auditOf("remap-create", request.requestedBy, record.id, { address, target });
      const begun = await this.#conductor.begin(record, audit);
      if (!begun.ok) return begun;
      return accept(remapOf(this.#cluster.remaps.get(record.id) ?? begun.value));
    });
  }

  plan(request: RemapRequest): Plan {
    const { inventory, remaps, world, config, recentLinks } = this.#cluster;
    const input = { inventory, remaps: [...remaps.values()], world, fabric: config.fabric, recentLinks };
    const { draft, ...plan } = planRemap(request, input);
    const owners = draft?.owners.map(({ owner }) => owner) ?? [];
    const heldBack = this.#heldBack([request.target, plan.source, ...owners], plan.source === "");
    if (heldBack !== undefined) return { ...plan, refusals: [heldBack, ...plan.refusals] };
    return { ...plan, ...(draft && { draft }) };
  }

  /**
   * A gateway without orders would make any remap wait, an agent those that it takes part in. Of an address that is not
   * known (`any`), nodes that are held back are the likely reason.
   */
  #heldBack(agents: readonly string[], any: boolean): BatonError | undefined {
    const nodes = this.#cluster.unexplained();
    const inTheWay = nodes.filter(({ name, kind }) => any || kind === "gateway" || agents.includes(name));
    const [first, ...others] = inTheWay;
    if (first === undefined) return undefined;
    const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
    return { code: "NODE_HELD_BACK", message: `${first.name}${more} is held back: ${first.unexplained}` };
  }

  get(id: string): Answer<Remap> {
    const state = this.#cluster.remaps.get(id);
    return state === undefined ? reject(unknown(id)) : accept(remapOf(state));
  }

  list(address: IpAddress | undefined, openOnly: boolean): readonly Remap[] {
    const chosen = [...this.#cluster.remaps.values()].filter(
      ({ record }) => (address === undefined || record.address === address) && !(openOnly && hasEnded(record)),
    );
    chosen.sort((a, b) => (b.record.phaseAtMs.preparing ?? 0) - (a.record.phaseAtMs.preparing ?? 0));
    return chosen.slice(0, listedMax).map(remapOf);
  }

  async command(id: string, event: RemapCommand, by: string): Promise<Answer<Remap>> {
    const more = event.kind === "deadline" ? { deadlineMs: event.deadlineMs ?? null } : {};
    const answer = await this.#conductor.command(id, event, auditOf(`remap-${event.kind}`, by, id, more));
    if (!answer.ok) return answer;
    if (answer.value.back) return await this.#moveBack(answer.value.state, by);
    return accept(remapOf(this.#cluster.remaps.get(id) ?? answer.value.state));
  }

  /**
   * Past the flip nothing is undone: the address goes back by a remap of its own. Asked twice, it is the same one. It
   * follows the target's connections, so a target whose agent is away makes it refused: breaking them takes a request.
   * Nor does it take anything offline.
   */
  async #moveBack({ record }: RemapState, by: string): Promise<Answer<Remap>> {
    const chain = this.#cluster.remapsOf(record.address).filter((state) => state.record.generation > record.generation);
    const running = chain.find((state) => state.record.target === record.source && !hasEnded(state.record));
    if (running !== undefined) return accept(remapOf(running));
    const tries = chain.filter((state) => state.record.idempotencyKey.startsWith(`back.${record.id}.`)).length;
    const { deadlineMs: _over, ...policy }: RemapPolicy = record.policy;
    return await this.create({
      address: record.address,
      target: record.source,
      policy: { ...policy, follow: true, offlineSource: false },
      requestedBy: by,
      idempotencyKey: `back.${record.id}.${tries + 1}`,
    });
  }

  #byKey(key: string): RemapState | undefined {
    return [...this.#cluster.remaps.values()].find(({ record }) => record.idempotencyKey === key);
  }
}

function auditOf(action: string, by: string, remap: string, more: AuditEntry): Audit {
  return { action, entry: { by, remap, ...more } };
}

function sameWish(earlier: RemapState, request: RemapRequest): Answer<Remap> {
  const { address, target, id } = earlier.record;
  if (address === request.address && target === request.target) return accept(remapOf(earlier));
  const message = `idempotency key ${request.idempotencyKey} was used for remap ${id} of ${address} to ${target}: use a new one`;
  return reject({ code: "INVALID_ARGUMENT", message });
}

function unknown(id: string) {
  return { code: "UNKNOWN_REMAP", message: `there is no remap ${id}: baton remaps list shows all` } as const;
}
