/** What a tracker has of each shard ↔ the messages of tracker.proto. */
import { shardsMax } from "../flow/events.ts";
import {
  type ListReplicasResponse,
  ReplicaPhase as PhaseNumber,
  type Replica as ReplicaMessage,
} from "../gen/baton/v1/tracker.ts";
import type { ReplicaPhase } from "../tracker/life.ts";
import type { PeerReplica, PeerReport } from "../tracker/peers.ts";
import { readEnum } from "./enums.ts";
import { FieldFault, readCount, readInteger, readList, readPresent } from "./fields.ts";
import { readTracker } from "./flow-codec.ts";

const phaseNumbers = {
  joining: PhaseNumber.JOINING,
  tailing: PhaseNumber.TAILING,
  serving: PhaseNumber.SERVING,
  leaving: PhaseNumber.LEAVING,
  gone: PhaseNumber.GONE,
} as const satisfies Record<ReplicaPhase, PhaseNumber>;

export function reportToProto({ name, endpoint, epoch, replicas }: PeerReport): ListReplicasResponse {
  return {
    tracker: { name, endpoint },
    epoch,
    replicas: [...replicas].map(([shard, { phase, lag, flows, complete, applied }]) => ({
      shard,
      phase: phaseNumbers[phase],
      appliedSequence: applied,
      lag: lag === undefined ? undefined : BigInt(lag),
      flows: BigInt(flows),
      complete,
    })),
  };
}

/** Throws FieldFault. */
export function readReport(message: ListReplicasResponse): PeerReport {
  const { name, endpoint } = readTracker("tracker", readPresent("tracker", message.tracker));
  const replicas = new Map(readList("replicas", message.replicas, shardsMax, readReplica));
  if (replicas.size !== message.replicas.length) throw new FieldFault("replicas", "each shard once", "one twice");
  return { name, endpoint, epoch: message.epoch, replicas };
}

function readReplica(message: ReplicaMessage, field: string): [number, PeerReplica] {
  const replica = {
    phase: readEnum(`${field}.phase`, phaseNumbers, message.phase),
    lag: message.lag === undefined ? undefined : readCount(`${field}.lag`, message.lag),
    flows: readCount(`${field}.flows`, message.flows),
    complete: message.complete,
    applied: message.appliedSequence,
  };
  return [readInteger(`${field}.shard`, message.shard, 0, shardsMax - 1), replica];
}
