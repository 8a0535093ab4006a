/** Flows, their keys, and what trackers answer of them ↔ the messages of flow.proto and tracker.proto. */
import type { FlowAnswer } from "../flow/answer.ts";
import { shardsMax } from "../flow/events.ts";
import type { Flow, FlowKey } from "../flow/flow.ts";
import type { FlowKey as FlowKeyMessage, Flow as FlowMessage } from "../gen/baton/v1/flow.ts";
import type {
  Assignment as AssignmentMessage,
  FlowAnswer as FlowAnswerMessage,
  ShardPosition as ShardPositionMessage,
  TrackerEndpoint,
} from "../gen/baton/v1/tracker.ts";
import type { ShardPosition } from "../node/state.ts";
import type { Assignment, ShardHolders, Tracker } from "../placement/assignment.ts";
import { layoutsMax } from "../placement/layout.ts";
import { parseEndpoint } from "./endpoint.ts";
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
  readPresent,
} from "./fields.ts";
import { protocolNumbers, stateNumbers } from "./flow-columns.ts";
import { layoutMapToProto, readLayoutMap } from "./layout-codec.ts";
import { positionsMax } from "./limits.ts";

const portMax = 65_535;

export function flowKeyToProto(key: FlowKey): FlowKeyMessage {
  return { ...key, protocol: protocolNumbers[key.protocol] };
}

export function readFlowKey(field: string, message: FlowKeyMessage): FlowKey {
  return {
    address: readAddress(`${field}.address`, message.address),
    protocol: readEnum(`${field}.protocol`, protocolNumbers, message.protocol),
    peer: readAddress(`${field}.peer`, message.peer),
    peerPort: readInteger(`${field}.peer_port`, message.peerPort, 0, portMax),
    port: readInteger(`${field}.port`, message.port, 0, portMax),
  };
}

export function flowToProto(flow: Flow): FlowMessage {
  return {
    key: flowKeyToProto(flow.key),
    owner: flow.owner,
    via: flow.via ?? "",
    state: stateNumbers[flow.state],
    openedAtMs: BigInt(flow.openedAtMs),
    generation: flow.generation,
  };
}

export function readFlow(field: string, message: FlowMessage): Flow {
  const flow = {
    key: readFlowKey(`${field}.key`, readPresent(`${field}.key`, message.key)),
    owner: readName(`${field}.owner`, message.owner),
    state: readEnum(`${field}.state`, stateNumbers, message.state),
    openedAtMs: readCount(`${field}.opened_at_ms`, message.openedAtMs),
    generation: message.generation,
  };
  return message.via === "" ? flow : { ...flow, via: readName(`${field}.via`, message.via) };
}

export function flowFromProto(message: FlowMessage): Decoded<Flow> {
  return decode(() => readFlow("flow", message));
}

export function positionsToProto(positions: readonly ShardPosition[]): ShardPositionMessage[] {
  return positions.map(({ shard, sequence }) => ({ shard, sequence }));
}

export function readPositions(field: string, messages: readonly ShardPositionMessage[]): ShardPosition[] {
  return readList(field, messages, positionsMax, ({ shard, sequence }, item) => ({
    shard: readInteger(`${item}.shard`, shard, 0, shardsMax - 1),
    sequence,
  }));
}

/** Where a watch stands: the position, and the change log that it belongs to. */
export interface WatchPosition extends ShardPosition {
  /** Absent: of no log; a watch can't go on from there. */
  readonly history?: bigint;
}

export function watchPositionsToProto(positions: readonly WatchPosition[]): ShardPositionMessage[] {
  return positions.map(({ shard, sequence, history }) => ({ shard, sequence, history }));
}

export function readWatchPositions(field: string, messages: readonly ShardPositionMessage[]): WatchPosition[] {
  return readPositions(field, messages).map((position, index) => {
    const history = messages[index]?.history;
    return history === undefined ? position : { ...position, history };
  });
}

export function answerToProto(answer: FlowAnswer): FlowAnswerMessage {
  switch (answer.kind) {
    case "owned":
      return { answer: { $case: "owned", value: flowToProto(answer.flow) } };
    case "closed": {
      const { owner, appliedSequence } = answer;
      return { answer: { $case: "closed", value: { owner, appliedSequence } } };
    }
    case "absent":
      return { answer: { $case: "absent", value: { appliedSequence: answer.appliedSequence } } };
    case "unknown":
      return { answer: { $case: "unknown", value: { reason: answer.reason } } };
  }
}

export function assignmentToProto({ epoch, holders, layouts }: Assignment): AssignmentMessage {
  const assignments = holders.map(({ primary, standby, pinned = false }, shard) => ({
    shard,
    primary,
    standby,
    pinned,
  }));
  return { epoch, shards: holders.length, assignments, layouts: layoutMapToProto(layouts) };
}

export function readAssignment(message: AssignmentMessage): Assignment {
  const shards = readInteger("shards", message.shards, 1, shardsMax);
  if (message.assignments.length !== shards)
    throw new FieldFault("assignments", `${shards} entries`, `${message.assignments.length} entries`);
  const holders = message.assignments.map((entry, index): ShardHolders => {
    const field = `assignments[${index}]`;
    readInteger(`${field}.shard`, entry.shard, index, index);
    const primary = readTracker(`${field}.primary`, readPresent(`${field}.primary`, entry.primary));
    const pinned = entry.pinned ? { pinned: true as const } : {};
    return entry.standby === undefined
      ? { primary, ...pinned }
      : { primary, standby: readTracker(`${field}.standby`, entry.standby), ...pinned };
  });
  const layouts = readLayoutMap("layouts", message.layouts, layoutsMax);
  return layouts.size === 0 ? { epoch: message.epoch, holders } : { epoch: message.epoch, holders, layouts };
}

export function readTracker(field: string, { name, endpoint }: TrackerEndpoint): Tracker {
  if (parseEndpoint(endpoint) === undefined)
    throw new FieldFault(`${field}.endpoint`, "host:port or unix:PATH", endpoint);
  return { name: readName(`${field}.name`, name), endpoint };
}
