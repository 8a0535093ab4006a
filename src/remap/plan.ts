/**
 * From a request to a remap: everything that can be refused before anything was begun.
 *
 * Preview and create use the same plan, so a preview without refusals is one that create would start (as of then).
 */
import type { IpAddress, Prefix } from "../flow/address.ts";
import {
  choosePrivate,
  type Inventory,
  type Outcome,
  type Reservation,
  unknownAddress,
  unknownInstance,
} from "../inventory/inventory.ts";
import { followsPerAddressMax, type LinkId } from "../node/state.ts";
import type { NodeHello } from "../node/status.ts";
import { type Chain, chainOf, holderOf, linksInUse, predecessors } from "./chain.ts";
import { type ChannelChoice, type ChosenChannel, chooseChannel, freeLinks } from "./channel.ts";
import type { BatonError } from "./error.ts";
import { hasEnded, isPending } from "./phase.ts";
import { policyRefusals } from "./policy.ts";
import { noFlows, type OwnerLink, type RemapRecord, type RemapState } from "./record.ts";
import type { MtuVerdict, RemapPolicy } from "./remap.ts";
import type { World } from "./world.ts";

export interface RemapRequest {
  readonly address: IpAddress;
  readonly target: string;
  readonly policy: RemapPolicy;
  readonly requestedBy: string;
  readonly idempotencyKey: string;
}

export interface PlanInput {
  readonly inventory: Inventory;
  readonly remaps: readonly RemapState[];
  readonly world: World;
  readonly fabric: readonly Prefix[];
  /** Links that were given out before, oldest first; they are avoided. */
  readonly recentLinks: readonly LinkId[];
}

export interface Plan {
  readonly source: string;
  readonly targetPrivate?: IpAddress;
  /** Of the source's own connections; absent where they are not followed or no channel can be had. */
  readonly channel?: ChosenChannel;
  /** Of the same channel, also where it is refused for it. */
  readonly mtu?: MtuVerdict;
  readonly refusals: readonly BatonError[];
  /** What the operator should know besides. */
  readonly remarks: readonly string[];
  /** Present when there are no refusals. */
  readonly draft?: RemapDraft;
}

/** A remap that only lacks its id and the time. */
export type RemapDraft = Omit<RemapRecord, "id" | "phaseAtMs" | "owners"> & {
  readonly owners: readonly (Omit<OwnerLink, "remap"> & { readonly remap?: string })[];
};

export function planRemap(request: RemapRequest, input: PlanInput): Plan {
  const refusals: BatonError[] = [...policyRefusals(request.policy)];
  const base = input.inventory.addresses.get(request.address);
  if (base === undefined)
    return {
      source: "",
      refusals: [...refusals, refusalOf(unknownAddress(input.inventory, request.address))],
      remarks: [],
    };
  const chain = chainOf(base, input.remaps);
  const holder = holderOf(chain);
  const pending = input.remaps.find(({ record }) => record.address === request.address && isPending(record));
  if (pending !== undefined)
    refusals.push({
      code: "REMAP_IN_PROGRESS",
      message: `remap ${pending.record.id} of ${request.address} is ${pending.record.phase.kind}: wait until it drains, or abort it`,
    });
  const target = input.inventory.nodes.get(request.target);
  if (target?.kind !== "agent")
    return {
      source: holder.instance,
      refusals: [...refusals, refusalOf(unknownInstance(input.inventory, request.target))],
      remarks: [],
    };
  if (holder.instance === request.target)
    refusals.push({ code: "SOURCE_IS_TARGET", message: `${request.target} holds ${request.address} already` });
  refusals.push(...nodeRefusals(request, holder.instance, input));
  const remarks = remarksOn(request, holder.instance, input);
  const chosen = choosePrivate(target, request.address, reservationsOf(input.inventory, input.remaps));
  if (!chosen.ok) return { source: holder.instance, refusals: [...refusals, chosen.refusal], remarks };
  const ways = planOwners(request, chain, chosen.value, input);
  const known = [
    holder.generation,
    ...input.remaps.filter((s) => s.record.address === request.address).map((s) => s.record.generation),
  ];
  const channel = ways.channels.get(holder.instance);
  const plan = {
    source: holder.instance,
    targetPrivate: chosen.value,
    ...(channel && { channel }),
    ...(ways.mtu && { mtu: ways.mtu }),
    refusals: [...refusals, ...ways.refusals],
    remarks,
  };
  if (plan.refusals.length > 0) return plan;
  const draft: RemapDraft = {
    ...request,
    step: 0,
    source: holder.instance,
    sourcePrivate: holder.private,
    sourceGeneration: holder.generation,
    targetPrivate: chosen.value,
    generation: known.reduce((a, b) => (a > b ? a : b)) + 1n,
    owners: ways.owners,
    phase: { kind: "preparing" },
    provenMtu: 0,
    flows: noFlows,
    traffic: [],
    counts: [],
  };
  return { ...plan, draft };
}

export function startRemap(draft: RemapDraft, id: string, nowMs: number): RemapRecord {
  const owners = draft.owners.map((owner) => ({ ...owner, remap: owner.remap ?? id }));
  return { ...draft, id, owners, step: 1, phaseAtMs: { preparing: nowMs } };
}

/** Private addresses that are taken: by mappings, and by both ends of every remap that has not ended. */
export function reservationsOf(inventory: Inventory, remaps: readonly RemapState[]): readonly Reservation[] {
  const mapped = [...inventory.addresses.values()].map((base) => {
    const { instance, private: own } = holderOf(chainOf(base, remaps));
    return { address: base.address, instance, private: own };
  });
  const moving = remaps
    .map(({ record }) => record)
    .filter((record) => !hasEnded(record))
    .flatMap(({ address, source, sourcePrivate, target, targetPrivate }) => [
      { address, instance: source, private: sourcePrivate },
      { address, instance: target, private: targetPrivate },
    ]);
  return [...mapped, ...moving];
}

function nodeRefusals(request: RemapRequest, source: string, { world, remaps }: PlanInput): BatonError[] {
  const refusals: BatonError[] = [];
  const needed = request.policy.follow ? [request.target, source] : [request.target];
  for (const name of new Set(needed)) {
    if (world.agents.get(name)?.connected === true) continue;
    const hint = name === source ? "; --no-follow moves the address without its connections" : "";
    refusals.push({ code: "INSTANCE_DOWN", message: `the agent of ${name} is not connected${hint}` });
  }
  refusals.push(...offlineRefusals(request, source, world), ...leavingRefusals(request, remaps));
  const gateways = [...world.gateways.values()];
  if (gateways.length === 0)
    refusals.push({ code: "GATEWAY_DOWN", message: "no gateway has ever connected: start one first" });
  for (const { name, connected } of gateways) {
    if (connected) continue;
    const message = `gateway ${name} is not connected: start it, or give it up with baton gateways rm ${name}`;
    refusals.push({ code: "GATEWAY_DOWN", message });
  }
  return refusals;
}

function offlineRefusals({ policy }: RemapRequest, source: string, world: World): BatonError[] {
  const hello = world.agents.get(source)?.hello;
  if (!policy.offlineSource || hello === undefined || hello.offlineHook === true) return [];
  const message = `the agent of ${source} has no command to take it offline: set offlineHook in its configuration, or leave --offline-source out and do it yourself`;
  return [{ code: "NO_OFFLINE_HOOK", message }];
}

/** Nothing may go to an instance that is being switched off. */
function leavingRefusals({ target }: RemapRequest, remaps: readonly RemapState[]): BatonError[] {
  const leaving = remaps.find(
    ({ record: { source, phase } }) => source === target && phase.kind === "finalizing" && phase.offline === true,
  );
  if (leaving === undefined) return [];
  return [{ code: "INSTANCE_DOWN", message: `${target} is being taken offline by remap ${leaving.record.id}` }];
}

/** What is no reason to refuse, and yet should be known before. */
function remarksOn({ address, policy }: RemapRequest, source: string, input: PlanInput): string[] {
  const hello = input.world.agents.get(source)?.hello;
  const resets = !policy.follow || (policy.deadlineMs !== undefined && policy.onDeadline === "cut");
  const remarks = directRemarks(source, policy);
  if (resets && hello !== undefined && hello.resetsConnections !== true)
    remarks.push(
      `the kernel of ${source} can't reset connections: those that are cut are reset at their next packet instead`,
    );
  if (!policy.offlineSource) return remarks;
  const others = [...input.inventory.addresses.values()]
    .filter((base) => base.address !== address && holderOf(chainOf(base, input.remaps)).instance === source)
    .map((base) => base.address);
  if (others.length > 0)
    remarks.push(`${source} holds ${others.join(", ")} too: it is taken offline only once they have moved`);
  const shards = input.world.agents.get(source)?.status.hosting?.shards.length ?? 0;
  if (shards > 0)
    remarks.push(
      `${source} hosts ${shards} shards of the flow table: it is taken offline once other trackers have them`,
    );
  return remarks;
}

/** What a source that answers by itself means for its owner. */
function directRemarks(source: string, policy: RemapPolicy): string[] {
  if (!policy.follow || policy.returnPath !== "direct") return [];
  const remarks = [`${source} can't open connections to the outside from its private address until the drain ends`];
  if (policy.unknown === "reset")
    remarks.push("the target sees no answers of old connections: one that the trackers don't know is reset");
  return remarks;
}

interface Ways {
  readonly owners: RemapDraft["owners"];
  readonly channels: ReadonlyMap<string, ChosenChannel>;
  /** Of the source's own channel. */
  readonly mtu?: MtuVerdict;
  readonly refusals: readonly BatonError[];
}

function planOwners(request: RemapRequest, chain: Chain, targetPrivate: IpAddress, input: PlanInput): Ways {
  const holder = holderOf(chain);
  const former = predecessors(chain, holder.instance, request.target).map(({ record }) => record);
  const owners = [
    ...(request.policy.follow ? [{ owner: holder.instance, ownerPrivate: holder.private }] : []),
    ...former.map(({ id, source, sourcePrivate }) => ({ owner: source, ownerPrivate: sourcePrivate, remap: id })),
  ];
  if (owners.length > followsPerAddressMax) {
    const message = `${request.target} would follow connections of ${owners.length} instances, and can follow those of ${followsPerAddressMax}: wait until a drain of ${request.address} ends, or cut one`;
    return { owners: [], channels: new Map(), refusals: [{ code: "LIMIT_EXCEEDED", message }] };
  }
  const links = freeLinks(owners.length, usedLinks(input), input.recentLinks);
  const refusals: BatonError[] = [];
  const channels = new Map<string, ChosenChannel>();
  let mtu: MtuVerdict | undefined;
  const planned = owners.flatMap((owner, index) => {
    const link = links[index];
    if (link === undefined) {
      refusals.push({ code: "LIMIT_EXCEEDED", message: "all 1023 channels are in use: wait until a drain ends" });
      return [];
    }
    const choice = channelTo(owner, request, targetPrivate, input);
    if (owner.owner === holder.instance) mtu = choice.mtu;
    if (!choice.ok) {
      refusals.push(choice.refusal);
      return [];
    }
    channels.set(owner.owner, choice.channel);
    return [{ ...owner, ...choice.channel, link, loadAtLeast: [] }];
  });
  return { owners: planned, channels, refusals, ...(mtu && { mtu }) };
}

function channelTo(
  owner: { readonly owner: string; readonly ownerPrivate: IpAddress },
  request: RemapRequest,
  targetPrivate: IpAddress,
  { world, fabric }: PlanInput,
): ChannelChoice {
  const ownerHello = world.agents.get(owner.owner)?.hello;
  const targetHello = world.agents.get(request.target)?.hello;
  if (ownerHello === undefined || targetHello === undefined) {
    const name = ownerHello === undefined ? owner.owner : request.target;
    const message = `the agent of ${name} is not connected, so no channel to it can be chosen`;
    return { ok: false, refusal: { code: "INSTANCE_DOWN", message } };
  }
  const gateways = [...world.gateways.values()].flatMap(({ hello }): NodeHello[] => (hello ? [hello] : []));
  const ends = [
    { hello: ownerHello, private: owner.ownerPrivate },
    { hello: targetHello, private: targetPrivate },
  ] as const;
  return chooseChannel(request.policy.channel, ...ends, gateways, fabric);
}

function usedLinks({ inventory, remaps }: PlanInput): ReadonlySet<LinkId> {
  const used = new Set<LinkId>();
  for (const base of inventory.addresses.values()) {
    for (const link of linksInUse(chainOf(base, remaps), remaps)) used.add(link);
  }
  return used;
}

function refusalOf(outcome: Outcome<never>): BatonError {
  if (outcome.ok) throw new TypeError("a refusal was expected");
  return outcome.refusal;
}
