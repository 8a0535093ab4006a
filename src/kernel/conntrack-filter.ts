/**
 * Which conntrack events are worth waking up for, decided in the kernel: a program of classic BPF (linux/filter.h) on the
 * receiving netlink socket. A short connection has seven or eight events, of which four say something new. Pure.
 *
 * Dropped: steps within a handshake and within an ending, which change nothing of what baton calls the state, and the
 * end of an entry whose connection was over. What is no TCP, or has no state, always comes through.
 */

const bytesPerInstruction = 8;
const load = { byteAt: 0x30, byteAtIndex: 0x50, immediate: 0x00, indexImmediate: 0x01 } as const;
const jump = { equal: 0x15, set: 0x45 } as const;
const copyToIndex = 0x07;
const returns = 0x06;

/** Addresses that stand for searches of netlink attributes: SKF_AD_OFF + SKF_AD_NLATTR, and the same within a nest. */
const findAttribute = 0xffff_f00c;
const findNested = 0xffff_f010;

const offsetOf = { subtype: 4, flagsHigh: 7, attributes: 20 } as const;
const deleteSubtype = 2;
const createFlagHigh = 0x04;
const protocolInfo = 4;
const protocolInfoTcp = 1;
const protocolInfoTcpState = 1;
const attributeHeaderBytes = 4;
/** enum tcp_conntrack */
const state = { synReceived: 2, closeWait: 5, lastAck: 6, timeWait: 7, close: 8 } as const;
const acceptAll = 0xffff_ffff;

type Step =
  | { readonly code: number; readonly value: number }
  | { readonly code: number; readonly value: number; readonly yes: Label; readonly no: Label };
type Label = "next" | "accept" | "drop" | "ended" | "update";

/** Steps with the labels that lead to them. */
const program: readonly (Step & { readonly label?: Label })[] = [
  { code: load.immediate, value: offsetOf.attributes },
  { code: load.indexImmediate, value: protocolInfo },
  { code: load.byteAt, value: findAttribute },
  { code: jump.equal, value: 0, yes: "accept", no: "next" },
  { code: load.indexImmediate, value: protocolInfoTcp },
  { code: load.byteAt, value: findNested },
  { code: jump.equal, value: 0, yes: "accept", no: "next" },
  { code: load.indexImmediate, value: protocolInfoTcpState },
  { code: load.byteAt, value: findNested },
  { code: jump.equal, value: 0, yes: "accept", no: "next" },
  { code: copyToIndex, value: 0 },
  { code: load.byteAt, value: offsetOf.subtype },
  { code: jump.equal, value: deleteSubtype, yes: "ended", no: "next" },
  { code: load.byteAt, value: offsetOf.flagsHigh },
  { code: jump.set, value: createFlagHigh, yes: "accept", no: "update" },
  { label: "update", code: load.byteAtIndex, value: attributeHeaderBytes },
  { code: jump.equal, value: state.synReceived, yes: "drop", no: "next" },
  { code: jump.equal, value: state.closeWait, yes: "drop", no: "next" },
  { code: jump.equal, value: state.lastAck, yes: "drop", no: "accept" },
  { label: "ended", code: load.byteAtIndex, value: attributeHeaderBytes },
  { code: jump.equal, value: state.timeWait, yes: "drop", no: "next" },
  { code: jump.equal, value: state.close, yes: "drop", no: "accept" },
  { label: "accept", code: returns, value: acceptAll },
  { label: "drop", code: returns, value: 0 },
];

/** An array of struct sock_filter. */
export function conntrackEventFilter(): Uint8Array {
  const bytes = new Uint8Array(program.length * bytesPerInstruction);
  const view = new DataView(bytes.buffer);
  for (const [index, step] of program.entries()) {
    const start = index * bytesPerInstruction;
    view.setUint16(start, step.code, true);
    if ("yes" in step) {
      view.setUint8(start + 2, distance(index, step.yes));
      view.setUint8(start + 3, distance(index, step.no));
    }
    view.setUint32(start + 4, step.value, true);
  }
  return bytes;
}

/** Instructions to skip. */
function distance(from: number, to: Label): number {
  if (to === "next") return 0;
  const index = program.findIndex((step) => step.label === to);
  if (index <= from) throw new Error(`no step ${to} after ${from}`);
  return index - from - 1;
}
