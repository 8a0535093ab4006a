import { describe, expect, it } from "vitest";
import {
  type MemberView,
  memberFromProto,
  memberToProto,
  type ShardView,
  shardFromProto,
  shardToProto,
} from "../../../src/rpc/cluster-codec.ts";
import {
  type AddressView,
  addressFromProto,
  addressToProto,
  type GatewayView,
  gatewayFromProto,
  gatewayToProto,
  type InstanceView,
  instanceFromProto,
  instanceToProto,
} from "../../../src/rpc/inventory-codec.ts";
import { ip } from "./remap-samples.ts";

const address: AddressView = {
  address: ip("203.0.113.10"),
  instance: "vm-a",
  private: ip("10.77.0.11"),
  generation: 1n,
};
const instance: InstanceView = {
  name: "vm-a",
  privateAddresses: [ip("10.77.0.11")],
  addresses: [ip("203.0.113.10")],
  connected: true,
  version: "0.1.0",
};
const gateway: GatewayView = { name: "gw1", connected: false, lastSeenMs: 5, version: "0.1.0", current: true };
const member: MemberView = {
  name: "tracker1",
  roles: ["tracker"],
  address: "10.77.0.31:7946",
  state: "alive",
  load: 0.5,
};
const shard: ShardView = {
  shard: 0,
  primary: "tracker1",
  epoch: 1n,
  lag: 0,
  flows: 12,
  complete: true,
  state: "serving",
  pinned: false,
};

describe("the inventory on the wire", () => {
  it("comes back as it was sent", () => {
    for (const view of [address, { ...address, remap: "r1" }])
      expect(addressFromProto(addressToProto(view))).toEqual({ ok: true, value: view });
    for (const view of [instance, { ...instance, lastSeenMs: 7 }])
      expect(instanceFromProto(instanceToProto(view))).toEqual({ ok: true, value: view });
    expect(gatewayFromProto(gatewayToProto(gateway))).toEqual({ ok: true, value: gateway });
  });
});

describe("the cluster on the wire", () => {
  it("comes back as it was sent", () => {
    expect(memberFromProto(memberToProto(member))).toEqual({ ok: true, value: member });
    for (const view of [shard, { ...shard, standby: "tracker2" }])
      expect(shardFromProto(shardToProto(view))).toEqual({ ok: true, value: view });
  });

  it("shows a member of a later version, with what it has no word for as the next best (M15)", () => {
    expect(memberFromProto({ ...memberToProto(member), hosting: "later" })).toEqual({
      ok: true,
      value: { ...member, hosting: "closed" },
    });
  });

  it("is refused with a load that is none", () => {
    expect(memberFromProto(memberToProto({ ...member, load: Number.NaN }))).toMatchObject({ ok: false });
    expect(memberFromProto(memberToProto({ ...member, load: 1.5 }))).toMatchObject({ ok: false });
  });
});
