/** What nodes send up, NodeHello and NodeStatus, both ways, validated and bounded. */
import { parseIpAddress, parsePrefix } from "../flow/address.ts";
import type {
  Device as DeviceMessage,
  DrainReport as DrainReportMessage,
  HostingReport as HostingReportMessage,
  LinkReport as LinkReportMessage,
  NodeFault as NodeFaultMessage,
  NodeHello as NodeHelloMessage,
  NodeStatus as NodeStatusMessage,
} from "../gen/baton/v1/node.ts";
import type {
  Device,
  DrainReport,
  HookReport,
  HostingReport,
  LinkReport,
  NodeFault,
  NodeHello,
  NodeStatus,
} from "../node/status.ts";
import { readinessOf } from "../placement/candidate.ts";
import { channelKinds, errorCodeNumbers, hookOutcomeNumbers, nodeKinds, readEnum } from "./enums.ts";
import {
  type Decoded,
  decode,
  FieldFault,
  hexToBytes,
  linkAddressToBytes,
  readAddress,
  readCount,
  readDecimal,
  readHex,
  readId,
  readInteger,
  readLinkAddress,
  readList,
  readName,
  readText,
} from "./fields.ts";
import * as limits from "./limits.ts";
import { fenceToProto, positionToProto, readFence, readLinkId, readMtu, readPosition, shardMax } from "./node-codec.ts";

const bootBytes = 16;
const kernelBytes = 24;
/** Loopback has 65536. */
const deviceMtuMax = 1_048_576;
const channelKindsMax = 16;

export function helloToProto(hello: NodeHello): NodeHelloMessage {
  return {
    name: hello.name,
    kind: nodeKinds[hello.kind],
    boot: Buffer.from(hexToBytes(hello.boot)),
    version: hello.version,
    held: hello.held && fenceToProto(hello.held),
    devices: hello.devices.map((device) => ({
      name: device.name,
      linkAddress: Buffer.from(linkAddressToBytes(device.linkAddress)),
      mtu: device.mtu,
      addresses: device.addresses.map(({ address, prefixLength }) => `${address}/${prefixLength}`),
    })),
    privateAddresses: [...hello.privateAddresses],
    channels: hello.channels.map((kind) => channelKinds[kind]),
    publicMtu: hello.publicMtu,
    offlineHook: hello.offlineHook ?? false,
    resetsConnections: hello.resetsConnections ?? false,
    kernel: hello.kernel === undefined ? Buffer.alloc(0) : Buffer.from(hexToBytes(hello.kernel)),
  };
}

export function helloFromProto(message: NodeHelloMessage): Decoded<NodeHello> {
  return decode(() => ({
    name: readName("name", message.name),
    kind: readEnum("kind", nodeKinds, message.kind),
    boot: readHex("boot", message.boot, bootBytes),
    version: readText("version", message.version),
    ...(message.held && { held: readFence("held", message.held) }),
    devices: readList("devices", message.devices, limits.devicesMax, readDevice),
    privateAddresses: readList(
      "private_addresses",
      message.privateAddresses,
      limits.addressesPerDeviceMax,
      (text, field) => readAddress(field, text),
    ),
    channels: readList("channels", message.channels, channelKindsMax, (kind, field) =>
      readEnum(field, channelKinds, kind),
    ),
    publicMtu: message.publicMtu === 0 ? 0 : readMtu("public_mtu", message.publicMtu),
    ...(message.offlineHook && { offlineHook: true }),
    ...(message.resetsConnections && { resetsConnections: true }),
    ...(message.kernel.length > 0 && { kernel: readHex("kernel", message.kernel, kernelBytes) }),
  }));
}

export function statusToProto(status: NodeStatus): NodeStatusMessage {
  return {
    applied: status.applied && fenceToProto(status.applied),
    faults: status.faults.map(faultToProto),
    marks: status.marks.map(({ id, positions, flows }) => ({
      id,
      positions: positions.map(positionToProto),
      flows: BigInt(flows),
    })),
    loads: status.loads.map(({ id, entries }) => ({ id, entries: BigInt(entries) })),
    proofs: status.proofs.map((proof) => ({ ...proof })),
    drains: status.drains.map(drainToProto),
    links: status.links.map((link) => ({ ...link })),
    retired: [...status.retired],
    hooks: (status.hooks ?? []).map(({ id, outcome, message }) => ({
      id,
      outcome: hookOutcomeNumbers[outcome],
      message,
    })),
    hosting: status.hosting && { ...status.hosting, shards: [...status.hosting.shards] },
  };
}

export function statusFromProto(message: NodeStatusMessage): Decoded<NodeStatus> {
  const max = limits.requestsMax;
  return decode(() => ({
    ...(message.applied && { applied: readFence("applied", message.applied) }),
    faults: readList("faults", message.faults, max, readFault),
    marks: readList("marks", message.marks, max, (mark, field) => ({
      id: readId(`${field}.id`, mark.id),
      positions: readList(`${field}.positions`, mark.positions, limits.positionsMax, readPosition),
      flows: readCount(`${field}.flows`, mark.flows),
    })),
    loads: readList("loads", message.loads, max, (load, field) => ({
      id: readId(`${field}.id`, load.id),
      entries: readCount(`${field}.entries`, load.entries),
    })),
    proofs: readList("proofs", message.proofs, max, (proof, field) => ({
      id: readId(`${field}.id`, proof.id),
      sender: readName(`${field}.sender`, proof.sender),
      mtu: readMtu(`${field}.mtu`, proof.mtu),
    })),
    drains: readList("drains", message.drains, limits.addressesMax, readDrain),
    links: readList("links", message.links, limits.linksMax, readLinkReport),
    retired: readList("retired", message.retired, limits.addressesMax, (text, field) => readAddress(field, text)),
    ...(message.hooks.length > 0 && { hooks: readList("hooks", message.hooks, max, readHook) }),
    ...(message.hosting && { hosting: readHosting("hosting", message.hosting) }),
  }));
}

function readHosting(field: string, message: HostingReportMessage): HostingReport {
  return {
    readiness: readinessOf(message.readiness),
    shards: readList(`${field}.shards`, message.shards, limits.positionsMax, (shard, at) =>
      readInteger(at, shard, 0, shardMax),
    ),
    vacated: message.vacated,
    takers: message.takers,
  };
}

function readDevice(message: DeviceMessage, field: string): Device {
  return {
    name: readText(`${field}.name`, message.name),
    linkAddress: readLinkAddress(`${field}.link_address`, message.linkAddress),
    mtu: readInteger(`${field}.mtu`, message.mtu, 0, deviceMtuMax),
    addresses: readList(`${field}.addresses`, message.addresses, limits.addressesPerDeviceMax, readDeviceAddress),
  };
}

/** "10.77.0.11/24": unlike a prefix it keeps its host bits. */
function readDeviceAddress(text: string, field: string): Device["addresses"][number] {
  const slash = text.lastIndexOf("/");
  const address = parseIpAddress(text.slice(0, slash));
  const prefix = parsePrefix(text);
  if (slash < 0 || address === undefined || prefix === undefined)
    throw new FieldFault(field, "an IP address with its prefix length", JSON.stringify(text));
  return { address, prefixLength: prefix.length };
}

function faultToProto(fault: NodeFault): NodeFaultMessage {
  return {
    code: errorCodeNumbers[fault.code],
    message: fault.message,
    address: fault.address ?? "",
    fence: fault.fence && fenceToProto(fault.fence),
  };
}

function readFault(message: NodeFaultMessage, field: string): NodeFault {
  return {
    code: readEnum(`${field}.code`, errorCodeNumbers, message.code),
    message: readText(`${field}.message`, message.message),
    ...(message.address !== "" && { address: readAddress(`${field}.address`, message.address) }),
    ...(message.fence && { fence: readFence(`${field}.fence`, message.fence) }),
  };
}

function readHook(message: NodeStatusMessage["hooks"][number], field: string): HookReport {
  return {
    id: readId(`${field}.id`, message.id),
    outcome: readEnum(`${field}.outcome`, hookOutcomeNumbers, message.outcome),
    message: readText(`${field}.message`, message.message),
  };
}

function drainToProto(drain: DrainReport): DrainReportMessage {
  return {
    address: drain.address,
    generation: drain.generation,
    open: BigInt(drain.open),
    atSwitch: drain.atSwitch === undefined ? undefined : BigInt(drain.atSwitch),
    opened: BigInt(drain.opened),
    cut: BigInt(drain.cut),
    superseded: BigInt(drain.superseded ?? 0),
    unresettable: BigInt(drain.unresettable ?? 0),
    longestSilenceMs: drain.longestSilenceMs,
  };
}

function readDrain(message: DrainReportMessage, field: string): DrainReport {
  return {
    address: readAddress(`${field}.address`, message.address),
    generation: message.generation,
    open: readCount(`${field}.open`, message.open),
    ...(message.atSwitch !== undefined && { atSwitch: readCount(`${field}.at_switch`, message.atSwitch) }),
    opened: readCount(`${field}.opened`, message.opened),
    cut: readCount(`${field}.cut`, message.cut),
    ...(message.superseded > 0n && { superseded: readCount(`${field}.superseded`, message.superseded) }),
    ...(message.unresettable > 0n && { unresettable: readCount(`${field}.unresettable`, message.unresettable) }),
    ...(message.longestSilenceMs !== undefined && {
      longestSilenceMs: readDecimal(`${field}.longest_silence_ms`, message.longestSilenceMs),
    }),
  };
}

function readLinkReport(message: LinkReportMessage, field: string): LinkReport {
  return { ...message, id: readLinkId(`${field}.id`, message.id) };
}
