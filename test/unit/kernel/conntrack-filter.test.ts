import { expect, test } from "vitest";
import { conntrackEventFilter } from "../../../src/kernel/conntrack-filter.ts";

const bytes = conntrackEventFilter();
const instructions = Array.from({ length: bytes.length / 8 }, (_, index) => {
  const view = new DataView(bytes.buffer, index * 8, 8);
  return { code: view.getUint16(0, true), yes: view.getUint8(2), no: view.getUint8(3), value: view.getUint32(4, true) };
});

/** Runs the program over a message's facts instead of its bytes; what it loads is told by where it loads from. */
function accepts(message: { subtype: number; created: boolean; state: number | undefined }): boolean {
  const found = message.state === undefined ? 0 : 100;
  const loaded = new Map([
    [0xffff_f00c, found],
    [0xffff_f010, found],
    [4, message.subtype],
    [7, message.created ? 0x04 : 0x01],
  ]);
  let accumulator = 0;
  for (let at = 0; at < instructions.length; at++) {
    const { code, yes, no, value } = instructions[at] ?? { code: 0x06, yes: 0, no: 0, value: 0 };
    if (code === 0x30) accumulator = loaded.get(value) ?? 0;
    else if (code === 0x50) accumulator = message.state ?? 0;
    else if (code === 0x15) at += accumulator === value ? yes : no;
    else if (code === 0x45) at += (accumulator & value) !== 0 ? yes : no;
    else if (code === 0x06) return value !== 0;
  }
  throw new Error("the program has no end");
}

const states = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
];
const passing = (message: { subtype: number; created: boolean }): (string | undefined)[] =>
  states.filter((_, state) => accepts({ ...message, state }));

test("every new entry comes through", () => {
  expect(passing({ subtype: 0, created: true })).toEqual(states);
});

test("of the steps of an entry, those come through that change what baton calls its state", () => {
  const telling = ["NONE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT", "TIME_WAIT", "CLOSE"];
  expect(passing({ subtype: 0, created: false })).toEqual(telling);
});

test("of the ends of entries, those come through that nothing has told of before", () => {
  const telling = ["NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK"];
  expect(passing({ subtype: 2, created: false })).toEqual(telling);
});

test("what has no TCP state always comes through", () => {
  for (const subtype of [0, 2]) expect(accepts({ subtype, created: false, state: undefined })).toBe(true);
});
