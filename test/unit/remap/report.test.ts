import { describe, expect, it } from "vitest";
import { parseIpAddress } from "../../../src/flow/address.ts";
import { defaultPolicy, type Remap } from "../../../src/remap/remap.ts";
import { remapToText } from "../../../src/remap/report.ts";

const ip = (text: string) => parseIpAddress(text) ?? expect.fail(text);
const startMs = Date.UTC(2030, 0, 2, 3, 4, 5, 6);

const fresh: Remap = {
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

describe("the JSON of a remap", () => {
  it("is one line with every zero written and nothing that was not measured", () => {
    expect(remapToText(fresh)).toBe(
      '{"id":"r1","address":"203.0.113.10","source":"vm-a","sourcePrivate":"10.77.0.11","target":"vm-b",' +
        '"targetPrivate":"10.77.0.12","generation":2,"phase":"preparing","requestedBy":"root@here",' +
        '"phaseAt":{"preparing":"2030-01-02T03:04:05.006Z"},' +
        '"policy":{"onDeadline":"wait","linger":10000,"unknown":"follow","return":"channel","channel":"auto",' +
        '"follow":true,"offlineSource":false},' +
        '"flows":{"atSwitch":0,"remaining":0,"closed":0,"superseded":0,"cut":0,"lost":0,"newAtTarget":0},' +
        '"followed":{"packets":0,"bytes":0},"waitingFor":[]}',
    );
  });

  it("has every field of a remap that ended, phases in the order in which they were entered", () => {
    const ended: Remap = {
      ...fresh,
      phase: "completed",
      outcome: "cut",
      phaseAtMs: { completed: startMs + 9, preparing: startMs, draining: startMs + 5 },
      policy: { ...defaultPolicy, deadlineMs: 60_000, onDeadline: "cut", returnPath: "direct" },
      channel: { kind: "vxlan", mtu: 1500, provenMtu: 1500 },
      flows: { atSwitch: 9, remaining: 0, closed: 5, superseded: 1, cut: 2, lost: 1, newAtTarget: 7 },
      followed: { packets: 12n, bytes: 3_400n },
      switchMs: 12.5,
      longestSilenceMs: 0,
      waitingFor: [{ node: "gw1", sinceMs: startMs, what: "its ack" }],
      error: { code: "NODE_TIMEOUT", message: "gw1 is silent" },
    };
    expect(remapToText(ended)).toBe(
      '{"id":"r1","address":"203.0.113.10","source":"vm-a","sourcePrivate":"10.77.0.11","target":"vm-b",' +
        '"targetPrivate":"10.77.0.12","generation":2,"phase":"completed","outcome":"cut","requestedBy":"root@here",' +
        '"phaseAt":{"preparing":"2030-01-02T03:04:05.006Z","draining":"2030-01-02T03:04:05.011Z",' +
        '"completed":"2030-01-02T03:04:05.015Z"},' +
        '"policy":{"deadline":60000,"onDeadline":"cut","linger":10000,"unknown":"follow","return":"direct",' +
        '"channel":"auto","follow":true,"offlineSource":false},' +
        '"channel":{"kind":"vxlan","mtu":1500,"provenMtu":1500},' +
        '"flows":{"atSwitch":9,"remaining":0,"closed":5,"superseded":1,"cut":2,"lost":1,"newAtTarget":7},' +
        '"followed":{"packets":12,"bytes":3400},"switchMs":12.5,"longestSilenceMs":0,' +
        '"waitingFor":[{"node":"gw1","since":"2030-01-02T03:04:05.006Z","what":"its ack"}],' +
        '"error":{"code":"NODE_TIMEOUT","message":"gw1 is silent"}}',
    );
  });
});
