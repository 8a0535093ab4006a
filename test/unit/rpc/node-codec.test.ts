import { describe, expect, it } from "vitest";
import { parsePrefix } from "../../../src/flow/address.ts";
import { AgentState as AgentMessage, DesiredState as DesiredMessage } from "../../../src/gen/baton/v1/node.ts";
import type { Fence } from "../../../src/node/fence.ts";
import type { AgentState, GatewayState } from "../../../src/node/state.ts";
import { digestOfState } from "../../../src/rpc/fields.ts";
import {
  agentStateBytes,
  agentStateToProto,
  desiredStateFromProto,
  desiredStateToProto,
  fenceFromProto,
  fenceToProto,
  gatewayStateBytes,
} from "../../../src/rpc/node-codec.ts";
import { ip } from "./remap-samples.ts";

const prefix = (text: string) => parsePrefix(text) ?? expect.fail(text);

const agent: AgentState = {
  fabric: [prefix("10.77.0.0/24"), prefix("fd77::/64")],
  probeSource: ip("192.0.2.1"),
  addresses: [
    {
      address: ip("203.0.113.10"),
      private: ip("10.77.0.12"),
      generation: 3n,
      egress: { kind: "normal" },
      holdOpens: true,
      follows: [
        {
          owner: "vm-a",
          ownerPrivate: ip("10.77.0.11"),
          link: 5,
          unknown: "follow",
          settled: false,
          loadId: "l1",
          loadAtLeast: [{ shard: 31, sequence: 2n ** 60n }],
        },
      ],
      watchDrain: false,
      cut: false,
    },
    {
      address: ip("203.0.113.11"),
      private: ip("10.77.0.112"),
      generation: 1n,
      egress: { kind: "channel", link: 5 },
      holdOpens: false,
      follows: [],
      watchDrain: true,
      cut: true,
    },
  ],
  links: [
    {
      id: 5,
      kind: "vxlan",
      peer: "vm-a",
      localPrivate: ip("10.77.0.12"),
      peerPrivate: ip("10.77.0.11"),
      peerLinkAddress: "02:00:00:00:0a:ff",
      mtu: 1500,
      ownerEnd: false,
      returnPath: "direct",
    },
  ],
  marks: [{ id: "m1", address: ip("203.0.113.10"), snapshot: true }],
  vacate: true,
};

const gateway: GatewayState = {
  fabric: [prefix("10.77.0.0/24")],
  publicPrefixes: [prefix("203.0.113.0/24")],
  probeSource: ip("192.0.2.1"),
  mappings: [{ address: ip("203.0.113.10"), private: ip("10.77.0.11"), generation: 2n }],
  accepts: [{ address: ip("203.0.113.10"), private: ip("10.77.0.12"), retiring: true }],
  proofs: [{ id: "p1", link: 5, targetPrivate: ip("10.77.0.12"), mtu: 1500 }],
};

const fence: Fence = {
  term: 4n,
  leader: "coordinator1",
  lease: "0123456789abcdef01234567",
  generation: 9n,
  digest: digestOfState(agentStateBytes(agent)),
};

const agentFromProto = (message: AgentMessage) =>
  desiredStateFromProto({ fence: fenceToProto(fence), state: { $case: "agent", value: message } });

describe("a node's state on the wire", () => {
  it("comes back as it was sent", () => {
    expect(agentFromProto(AgentMessage.decode(agentStateBytes(agent)))).toMatchObject({
      ok: true,
      value: { state: agent },
    });
    expect(fenceFromProto(fenceToProto(fence))).toEqual({ ok: true, value: fence });
  });

  it("comes back with the fence that it was sent under", () => {
    for (const desired of [
      { kind: "agent", fence, state: agent },
      { kind: "gateway", fence, state: gateway },
    ] as const) {
      const bytes = DesiredMessage.encode(desiredStateToProto(desired)).finish();
      expect(desiredStateFromProto(DesiredMessage.decode(bytes))).toEqual({ ok: true, value: desired });
    }
  });

  it("has the same bytes for the same state, and others for another", () => {
    expect(digestOfState(agentStateBytes(structuredClone(agent)))).toBe(fence.digest);
    expect(fence.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(digestOfState(agentStateBytes({ ...agent, marks: [] }))).not.toBe(fence.digest);
    expect(digestOfState(gatewayStateBytes(gateway))).not.toBe(
      digestOfState(gatewayStateBytes({ ...gateway, proofs: [] })),
    );
  });
});

/** Puts a value at a place deep inside a message. */
function damaged<T extends object>(message: T, [head, ...rest]: readonly (string | number)[], value: unknown): T {
  if (head === undefined) throw new Error("nowhere to put it");
  const inner = (message as Record<string | number, unknown>)[head];
  const replaced = rest.length === 0 ? value : damaged(inner as object, rest, value);
  return (Array.isArray(message) ? message.with(Number(head), replaced) : { ...message, [head]: replaced }) as T;
}

describe("a state that makes no sense", () => {
  const message = agentStateToProto(agent);
  const [link] = message.links;
  const [follow] = message.addresses[0]?.follows ?? [];
  const kinds = "direct, vxlan, ipip, gre, wireguard";
  const linkRange = "a whole number from 1 to 1023";

  it.each([
    ["an address that is none", ["probeSource"], "nowhere", 'probe_source: expected an IP address, found "nowhere"'],
    [
      "a prefix that is none",
      ["fabric", 0],
      "10.0.0.0/33",
      'fabric[0]: expected a network prefix, found "10.0.0.0/33"',
    ],
    ["link 0", ["links", 0, "id"], 0, `links[0].id: expected ${linkRange}, found 0`],
    ["link 1024", ["links", 0, "id"], 1024, `links[0].id: expected ${linkRange}, found 1024`],
    [
      "a link address of 5 bytes",
      ["links", 0, "peerLinkAddress"],
      Buffer.alloc(5),
      "links[0].peer_link_address: expected 6 bytes, found 5 bytes",
    ],
    ["no channel kind", ["links", 0, "kind"], 0, `links[0].kind: expected one of ${kinds}, found 0`],
    ["channel kind auto", ["links", 0, "kind"], 1, `links[0].kind: expected one of ${kinds}, found 1`],
    [
      "an MTU too small for IP",
      ["links", 0, "mtu"],
      20,
      "links[0].mtu: expected a whole number from 68 to 65535, found 20",
    ],
    [
      "a name that would end a quotation",
      ["links", 0, "peer"],
      'a"; drop',
      'links[0].peer: expected a name of 1 to 63 letters, digits, ".", "_", "-", found "a\\"; drop"',
    ],
    ["two links with one id", ["links"], [link, link], "links: expected distinct ids, found two links with one id"],
    [
      "a follow over a link that is not there",
      ["addresses", 0, "follows", 0, "link"],
      6,
      "addresses of 203.0.113.10: expected a link of this state, found 6",
    ],
    [
      "an egress without a link",
      ["addresses", 1, "egressLink"],
      0,
      `addresses[1].egress_link: expected ${linkRange}, found 0`,
    ],
    [
      "an egress that this version does not know",
      ["addresses", 1, "egress"],
      9,
      "addresses[1].egress: expected one of normal, armed, channel, direct, found 9",
    ],
    [
      "too many follows",
      ["addresses", 0, "follows"],
      Array(17).fill(follow),
      "addresses[0].follows: expected at most 16 entries, found 17 entries",
    ],
    [
      "a shard that can't be",
      ["addresses", 0, "follows", 0, "loadAtLeast", 0, "shard"],
      70_000,
      "addresses[0].follows[0].load_at_least[0].shard: expected a whole number from 0 to 65535, found 70000",
    ],
    [
      "an id with a line end",
      ["marks", 0, "id"],
      "a\nb",
      'marks[0].id: expected 1 to 128 printable characters, found "a\\nb"',
    ],
  ])("is refused for %s, naming the field", (_what, path, value, expected) => {
    expect(agentFromProto(damaged(message, path, value))).toEqual({ ok: false, message: expected });
  });

  it("is refused without a fence, without a state, and with a digest of another size", () => {
    const desired = desiredStateToProto({ kind: "gateway", fence, state: gateway });
    expect(desiredStateFromProto({ ...desired, fence: undefined })).toMatchObject({ ok: false });
    expect(desiredStateFromProto({ ...desired, state: undefined })).toMatchObject({ ok: false });
    expect(fenceFromProto({ ...fenceToProto(fence), digest: Buffer.alloc(31) })).toEqual({
      ok: false,
      message: "fence.digest: expected 32 bytes, found 31 bytes",
    });
  });
});
