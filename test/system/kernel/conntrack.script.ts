/** An actor that watches its namespace's connections as an agent does, and has connections of its own. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { IpAddress } from "../../../src/flow/address.ts";
import type { FlowState } from "../../../src/flow/flow.ts";
import { FlowTable } from "../../../src/flow/flow-table.ts";
import { type ConntrackRecord, createVantage, type FlowChange, observeConntrack } from "../../../src/flow/observe.ts";
import {
  ConntrackEvents,
  conntrackUsage,
  deleteConntrack,
  dumpConntrack,
  openConntrack,
  setConntrackMark,
} from "../../../src/kernel/conntrack.ts";
import type { ConntrackFilter } from "../../../src/kernel/conntrack-request.ts";
import { serveCalls } from "./actor.ts";
import { socketCalls } from "./sockets.ts";

export const privateAddress = "10.9.0.1" as IpAddress;
export const publicAddress = "203.0.113.10" as IpAddress;
const datagramScript = fileURLToPath(new URL("datagrams.script.ts", import.meta.url));

const netlink = openConntrack();
const vantage = createVantage(new Map([[privateAddress, { address: publicAddress, generation: 3n }]]), []);
const table = new FlowTable("vm-a");
const changes: FlowChange[] = [];
const flowStates = new Map<number, FlowState[]>();
let subscription: ConntrackEvents | undefined;
let overflows = 0;
let malformed = 0;
let udpEvents = 0;
const failures: string[] = [];

function take(record: ConntrackRecord): void {
  if (record.protocol === "udp" && record.event === "new") udpEvents++;
  const change = observeConntrack(record, vantage);
  if (change === undefined) return;
  changes.push(change);
  const applied = table.apply(change, Date.now());
  if (applied.kind !== "event") return;
  const states = flowStates.get(change.key.peerPort);
  if (states === undefined) flowStates.set(change.key.peerPort, [applied.flow.state]);
  else states.push(applied.flow.state);
}

function entryOf(port: number): ConntrackRecord | undefined {
  return [...dumpConntrack(netlink)].find(({ original }) => original.sourcePort === port);
}

const conntrackCalls = {
  subscribe: async (receiveBufferBytes?: number): Promise<void> => {
    await subscription?.[Symbol.asyncDispose]();
    overflows = 0;
    udpEvents = 0;
    subscription = await ConntrackEvents.open({
      handle: (rows) => {
        malformed += rows.malformed;
        for (const record of rows) take(record);
      },
      overflow: () => overflows++,
      fail: (error) => failures.push(error.message),
      ...(receiveBufferBytes !== undefined && { receiveBufferBytes }),
    });
  },
  /** States that the flow table told of, in order. */
  flowStates: (peerPort: number): FlowState[] => flowStates.get(peerPort) ?? [],
  changesOf: (peerPort: number): FlowChange[] => changes.filter((change) => change.key.peerPort === peerPort),
  tracked: (): number => table.size,
  counts: () => ({ overflows, malformed, udpEvents, failures }),
  usage: conntrackUsage,
  listedPorts: (filter: ConntrackFilter): number[] =>
    [...dumpConntrack(netlink, filter)].map(({ original }) => original.sourcePort),
  listedUdp: (): { count: number; elapsedMs: number } => {
    const startMs = performance.now();
    const { count } = dumpConntrack(netlink, { protocol: "udp", localAddress: privateAddress });
    return { count, elapsedMs: performance.now() - startMs };
  },
  mark: (port: number): number | undefined => entryOf(port)?.mark,
  setMark: (port: number, mark: number, mask: number): string => {
    const entry = entryOf(port);
    return entry === undefined ? "no such entry" : setConntrackMark(netlink, entry, mark, mask);
  },
  /** Deletes it twice. */
  deleteTwice: (port: number): string[] => {
    const entry = entryOf(port);
    return entry === undefined ? [] : [deleteConntrack(netlink, entry), deleteConntrack(netlink, entry)];
  },
  /** Keeps the main thread from taking events while another namespace sends datagrams. */
  sendDatagramsMeanwhile: (namespace: string, firstPort: number, count: number): void => {
    const args = ["netns", "exec", namespace, process.execPath, datagramScript];
    execFileSync("ip", [...args, privateAddress, String(firstPort), String(count)]);
  },
};

export type ConntrackActor = typeof conntrackCalls & ReturnType<typeof socketCalls>;

serveCalls({ ...conntrackCalls, ...socketCalls() });
