/** Flows: as a table, and as JSON. */
import type { Flow, FlowState } from "../../../src/flow/flow.ts";
import { type Json, timeText } from "../../../src/remap/report.ts";
import { formatDuration } from "../duration.ts";
import { table } from "./table.ts";
import { type Line, type Paint, paint } from "./text.ts";

const statePaint: Record<FlowState, Paint> = { "half-open": "yellow", open: "green", closing: "yellow", closed: "dim" };

export function flowJson(flow: Flow): Json {
  const { key } = flow;
  return {
    address: key.address,
    protocol: key.protocol,
    peer: key.peer,
    peerPort: key.peerPort,
    port: key.port,
    owner: flow.owner,
    ...(flow.via !== undefined && { via: flow.via }),
    state: flow.state,
    openedAt: timeText(flow.openedAtMs),
    generation: Number(flow.generation),
  };
}

export function flowTable(flows: readonly Flow[], nowMs: number): Line[] {
  if (flows.length === 0) return [["No open connection."]];
  const rows = flows.map((flow) => [
    flow.key.protocol,
    flow.key.peer,
    String(flow.key.peerPort),
    String(flow.key.port),
    flow.owner,
    flow.via ?? "",
    paint(flow.state, statePaint[flow.state]),
    formatDuration(Math.max(0, nowMs - flow.openedAtMs)),
    String(flow.generation),
  ]);
  const header = ["PROTO", "PEER", "PEER PORT", "PORT", "OWNER", "VIA", "STATE", "AGE", "GENERATION"];
  return table(header, rows, ["PEER PORT", "PORT", "AGE", "GENERATION"]);
}
