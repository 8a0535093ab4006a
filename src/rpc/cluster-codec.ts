/** Members and shards as ClusterService shows them, both ways. */
import type { IpAddress } from "../flow/address.ts";
import { shardsMax } from "../flow/events.ts";
import {
  type AddressShards as AddressShardsMessage,
  type Member as MemberMessage,
  MemberState,
  type Shard as ShardMessage,
} from "../gen/baton/v1/cluster.ts";
import { type HostingReadiness, readinessOf } from "../placement/candidate.ts";
import { bucketsMax, type Layout } from "../placement/layout.ts";
import { type ReplicaPhase, replicaPhases } from "../tracker/life.ts";
import { readEnum } from "./enums.ts";
import {
  type Decoded,
  decode,
  FieldFault,
  readAddress,
  readCount,
  readInteger,
  readList,
  readName,
  readOneOf,
  readText,
} from "./fields.ts";

import { layoutToProto, readOptionalLayout } from "./layout-codec.ts";

const rolesMax = 16;

export const memberStates = {
  alive: MemberState.ALIVE,
  suspect: MemberState.SUSPECT,
  dead: MemberState.DEAD,
  left: MemberState.LEFT,
} as const;

export interface MemberView {
  readonly name: string;
  readonly roles: readonly string[];
  readonly address: string;
  readonly state: keyof typeof memberStates;
  /** 0 to 1. */
  readonly load: number;
  /** Absent: it holds no shards. */
  readonly hosting?: HostingReadiness;
}

export interface ShardView {
  readonly shard: number;
  readonly primary: string;
  /** Absent: one copy. */
  readonly standby?: string;
  readonly epoch: bigint;
  /** Messages that the primary has not applied yet. */
  readonly lag: number;
  /** Of the copy that answers. */
  readonly flows: number;
  readonly complete: boolean;
  /** Where the primary's copy is in its life; "away": its tracker does not answer. */
  readonly state: ReplicaPhase | "away";
  readonly pinned: boolean;
}

/** Of an address with more than one bucket, or whose flows are on their way to other buckets. */
export interface AddressShardsView {
  readonly address: IpAddress;
  readonly layout: Layout;
  readonly shards: readonly number[];
}

export interface ShardsView {
  readonly shards: readonly ShardView[];
  readonly addresses: readonly AddressShardsView[];
}

const shardStates: readonly ShardView["state"][] = [...replicaPhases, "away"];

export function memberToProto(view: MemberView): MemberMessage {
  return { ...view, roles: [...view.roles], state: memberStates[view.state], hosting: view.hosting ?? "" };
}

export function memberFromProto(message: MemberMessage): Decoded<MemberView> {
  return decode(() => {
    if (!(message.load >= 0 && message.load <= 1)) throw new FieldFault("load", "a number from 0 to 1", message.load);
    return {
      name: readName("name", message.name),
      roles: readList("roles", message.roles, rolesMax, (role, field) => readName(field, role)),
      address: readText("address", message.address),
      state: readEnum("state", memberStates, message.state),
      load: message.load,
      ...(message.hosting !== "" && { hosting: readinessOf(message.hosting) }),
    };
  });
}

export function shardToProto(view: ShardView): ShardMessage {
  const { standby, lag, flows, ...same } = view;
  return { ...same, standby: standby ?? "", lag: BigInt(lag), flows: BigInt(flows) };
}

export function addressShardsToProto({ address, layout, shards }: AddressShardsView): AddressShardsMessage {
  return { address, layout: layoutToProto(layout), shards: [...shards] };
}

export function addressShardsFromProto(message: AddressShardsMessage): Decoded<AddressShardsView> {
  return decode(() => ({
    address: readAddress("address", message.address),
    layout: readOptionalLayout("layout", message.layout),
    shards: readList("shards", message.shards, 2 * bucketsMax, (shard, field) =>
      readInteger(field, shard, 0, shardsMax - 1),
    ),
  }));
}

export function shardFromProto(message: ShardMessage): Decoded<ShardView> {
  return decode(() => ({
    shard: message.shard,
    primary: message.primary === "" ? "" : readName("primary", message.primary),
    ...(message.standby !== "" && { standby: readName("standby", message.standby) }),
    epoch: message.epoch,
    lag: readCount("lag", message.lag),
    flows: readCount("flows", message.flows),
    complete: message.complete,
    state: readOneOf("state", shardStates, message.state),
    pinned: message.pinned,
  }));
}
