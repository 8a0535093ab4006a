/** Remaps for tests: one that has just begun, one with every field. */
import { parseIpAddress } from "../../../src/flow/address.ts";
import { defaultPolicy, type Remap } from "../../../src/remap/remap.ts";

export function ip(text: string) {
  const address = parseIpAddress(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

export const startMs = Date.UTC(2030, 0, 2, 3, 4, 5);

export const freshRemap: Remap = {
  id: "r1",
  address: ip("203.0.113.10"),
  source: "vm-a",
  sourcePrivate: ip("10.77.0.11"),
  target: "vm-b",
  targetPrivate: ip("10.77.0.12"),
  generation: 2n,
  phase: "preparing",
  requestedBy: "root@here",
  phaseAtMs: { preparing: startMs },
  policy: defaultPolicy,
  flows: { atSwitch: 0, remaining: 0, closed: 0, superseded: 0, cut: 0, lost: 0, newAtTarget: 0 },
  followed: { packets: 0n, bytes: 0n },
  waitingFor: [],
};

export const drainingRemap: Remap = {
  ...freshRemap,
  phase: "draining",
  phaseAtMs: { preparing: startMs, arming: startMs + 400, switching: startMs + 520, draining: startMs + 543 },
  policy: { ...defaultPolicy, deadlineMs: 1_800_000 },
  channel: { kind: "direct", mtu: 1500, provenMtu: 1500 },
  flows: { atSwitch: 200, remaining: 57, closed: 141, superseded: 2, cut: 0, lost: 0, newAtTarget: 1_204 },
  followed: { packets: 34_123n, bytes: 1_200_000_000n },
  switchMs: 12.34,
  longestSilenceMs: 4,
};

export const cutRemap: Remap = {
  ...drainingRemap,
  phase: "completed",
  outcome: "cut",
  phaseAtMs: { ...drainingRemap.phaseAtMs, finalizing: startMs + 60_000, completed: startMs + 60_100 },
  flows: { ...drainingRemap.flows, remaining: 0, cut: 57 },
  waitingFor: [{ node: "gw1", sinceMs: startMs, what: "its acknowledgement" }],
  error: { code: "NODE_TIMEOUT", message: "gw1 is silent" },
  offline: { outcome: "timed-out", message: "not done within 60000 ms, ended by SIGTERM" },
  remarks: ["3 of the connections can't be reset"],
};

export const abortedRemap: Remap = {
  ...freshRemap,
  phase: "aborted",
  outcome: "aborted",
  phaseAtMs: { preparing: startMs, aborting: startMs + 1_000, aborted: startMs + 1_500 },
  error: { code: "CHANNEL_UNPROVEN", message: "no proof came back: check the firewall between vm-a and vm-b" },
};
