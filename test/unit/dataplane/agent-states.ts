/** Desired states of agents at the steps of one remap, as the renderers' tests take them. */
import { defaultMarkMask, markLayout } from "../../../src/dataplane/mark.ts";
import { type IpAddress, parseIpAddress, parsePrefix } from "../../../src/flow/address.ts";
import type { AgentAddress, AgentState, Follow, Link } from "../../../src/node/state.ts";

export function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new RangeError(`not an address: ${text}`);
  return address;
}

const marks = markLayout(defaultMarkMask);
if (marks === undefined) throw new RangeError("the default mark mask is not a layout");

export const host = {
  marks,
  deviceOf: new Map([
    [ip("10.77.0.11"), "eth0"],
    [ip("10.77.0.12"), "eth0"],
  ]),
  guardedDevices: ["eth0"],
  trackExternalOnly: true,
  hostedPorts: [],
};

const fabric = [parsePrefix("10.77.0.0/24")].filter((prefix) => prefix !== undefined);

export function agentState(addresses: readonly AgentAddress[], links: readonly Link[]): AgentState {
  return { fabric, probeSource: ip("192.0.2.1"), addresses, links, marks: [] };
}

export const targetLink: Link = {
  id: 5,
  kind: "direct",
  peer: "vm-a",
  localPrivate: ip("10.77.0.12"),
  peerPrivate: ip("10.77.0.11"),
  peerLinkAddress: "02:00:00:00:00:0a",
  mtu: 1500,
  ownerEnd: false,
  returnPath: "channel",
};

export const sourceLink: Link = {
  ...targetLink,
  peer: "vm-b",
  localPrivate: ip("10.77.0.11"),
  peerPrivate: ip("10.77.0.12"),
  peerLinkAddress: "02:00:00:00:00:0b",
  ownerEnd: true,
};

export const follow: Follow = {
  owner: "vm-a",
  ownerPrivate: ip("10.77.0.11"),
  link: 5,
  unknown: "follow",
  settled: false,
  loadId: "load",
  loadAtLeast: [],
};

export const plain: Omit<AgentAddress, "private"> = {
  address: ip("203.0.113.10"),
  generation: 7n,
  egress: { kind: "normal" },
  holdOpens: false,
  follows: [],
  watchDrain: false,
  cut: false,
};

export const states = {
  steady: agentState([{ ...plain, private: ip("10.77.0.11") }], []),
  targetPreparing: agentState([], [targetLink]),
  targetArmed: agentState([{ ...plain, private: ip("10.77.0.12"), holdOpens: true, follows: [follow] }], [targetLink]),
  targetDraining: agentState(
    [{ ...plain, private: ip("10.77.0.12"), follows: [{ ...follow, settled: true }] }],
    [targetLink],
  ),
  sourceArmed: agentState([{ ...plain, private: ip("10.77.0.11"), egress: { kind: "armed", link: 5 } }], [sourceLink]),
  sourceSwitched: agentState(
    [{ ...plain, private: ip("10.77.0.11"), egress: { kind: "channel", link: 5 }, watchDrain: true }],
    [sourceLink],
  ),
  sourceArmedToAnswer: agentState(
    [{ ...plain, private: ip("10.77.0.11"), egress: { kind: "armed", link: 5 } }],
    [{ ...sourceLink, returnPath: "direct" }],
  ),
  sourceAnswering: agentState(
    [{ ...plain, private: ip("10.77.0.11"), egress: { kind: "direct", link: 5 }, watchDrain: true }],
    [{ ...sourceLink, returnPath: "direct" }],
  ),
  sourceAnsweringByVxlan: agentState(
    [{ ...plain, private: ip("10.77.0.11"), egress: { kind: "direct", link: 5 } }],
    [{ ...sourceLink, kind: "vxlan", returnPath: "direct" }],
  ),
  sourceSwitchedByVxlan: agentState(
    [{ ...plain, private: ip("10.77.0.11"), egress: { kind: "channel", link: 5 } }],
    [{ ...sourceLink, kind: "vxlan" }],
  ),
  targetArmedByVxlan: agentState(
    [{ ...plain, private: ip("10.77.0.12"), holdOpens: true, follows: [follow] }],
    [{ ...targetLink, kind: "vxlan" }],
  ),
};
