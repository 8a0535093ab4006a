/** Flows as columns of equal length: the inner loop of the event stream, in both directions. */
import { type IpAddress, mappedBytes, writeIpAddressWords } from "../flow/address.ts";
import { type FlowRow, rowsPerMessageMax } from "../flow/events.ts";
import type { FlowState, Protocol } from "../flow/flow.ts";
import { generationAt, kindAt, kindOf, openedAtAt, portsAt, rowWords, writeTime } from "../flow/flow-words.ts";
import { PackedRows } from "../flow/packed-rows.ts";
import { type FlowColumns, Protocol as ProtocolNumber, FlowState as StateNumber } from "../gen/baton/v1/flow.ts";
import { FieldFault } from "./fields.ts";

export type Columns = FlowColumns;

export const protocolNumbers: Record<Protocol, ProtocolNumber> = { tcp: ProtocolNumber.TCP, udp: ProtocolNumber.UDP };

export const stateNumbers: Record<FlowState, StateNumber> = {
  "half-open": StateNumber.HALF_OPEN,
  open: StateNumber.OPEN,
  closing: StateNumber.CLOSING,
  closed: StateNumber.CLOSED,
};

export const protocolsByNumber = byNumber(protocolNumbers);
export const statesByNumber = byNumber(stateNumbers);

const portsBytes = 4;
const wordsPerAddress = mappedBytes / 4;
const uint32Max = 0xffff_ffff;
/** 9999-12-31: later times are faults, not times. */
const timeMsMax = 253_402_300_799_999;

/** Gives each address its place in FlowEventBatch.addresses, in the order of first use. */
export class AddressIndex {
  readonly addresses: IpAddress[] = [];
  readonly #places = new Map<IpAddress, number>();

  of(address: IpAddress): number {
    const known = this.#places.get(address);
    if (known !== undefined) return known;
    this.#places.set(address, this.addresses.length);
    return this.addresses.push(address) - 1;
  }
}

/** The base is the youngest row's time. Rows older than that by 2³² ms, 49 days, are sent as if of that age. */
export function columnsFromRows(rows: readonly FlowRow[], index: AddressIndex): { flows: Columns; baseMs: number } {
  const n = rows.length;
  const baseMs = rows.reduce((latest, { openedAtMs }) => Math.max(latest, openedAtMs), 0);
  const flows: Columns = {
    addressIndex: new Array<number>(n),
    protocol: Buffer.allocUnsafe(n),
    peer: Buffer.allocUnsafe(mappedBytes * n),
    ports: Buffer.allocUnsafe(portsBytes * n),
    state: Buffer.allocUnsafe(n),
    openedBeforeMs: new Array<number>(n),
    generation: new Array<number>(n),
  };
  const peerWords = new Uint32Array(wordsPerAddress);
  rows.forEach(({ key, state, openedAtMs, generation }, row) => {
    flows.addressIndex[row] = index.of(key.address);
    flows.protocol[row] = protocolNumbers[key.protocol];
    writeIpAddressWords(key.peer, peerWords);
    for (let word = 0; word < wordsPerAddress; word++)
      flows.peer.writeUInt32BE(peerWords[word] ?? 0, mappedBytes * row + 4 * word);
    flows.ports.writeUInt16BE(key.peerPort, portsBytes * row);
    flows.ports.writeUInt16BE(key.port, portsBytes * row + 2);
    flows.state[row] = stateNumbers[state];
    flows.openedBeforeMs[row] = Math.min(uint32Max, baseMs - openedAtMs);
    flows.generation[row] = Number(generation & BigInt(uint32Max));
  });
  return { flows, baseMs };
}

export function rowsFromColumns(
  field: string,
  columns: Columns | undefined,
  base: bigint,
  addresses: readonly IpAddress[],
): PackedRows {
  if (columns === undefined) return PackedRows.of([]);
  const n = checkedLength(field, columns);
  if (base < 0n || base > BigInt(timeMsMax)) throw new FieldFault("base_ms", `0 to ${timeMsMax}`, base);
  const baseMs = Number(base);
  const words = new Uint32Array(rowWords * n);
  const [peers, ports] = [viewOf(columns.peer), viewOf(columns.ports)];
  for (let row = 0; row < n; row++) {
    const place = columns.addressIndex[row] ?? -1;
    const protocol = protocolsByNumber[columns.protocol[row] ?? 0];
    const state = statesByNumber[columns.state[row] ?? 0];
    if (place < 0 || place >= addresses.length)
      throw new FieldFault(`${field}.address_index[${row}]`, "an index", place);
    if (protocol === undefined) throw new FieldFault(`${field}.protocol[${row}]`, "6 or 17", columns.protocol[row]);
    if (state === undefined) throw new FieldFault(`${field}.state[${row}]`, "1 to 4", columns.state[row]);
    const at = rowWords * row;
    for (let word = 0; word < wordsPerAddress; word++) words[at + word] = peers.getUint32(mappedBytes * row + 4 * word);
    words[at + portsAt] = ports.getUint32(portsBytes * row);
    words[at + kindAt] = kindOf(protocol, state);
    writeTime(words, at + openedAtAt, Math.max(0, baseMs - (columns.openedBeforeMs[row] ?? 0)));
    words[at + generationAt + 1] = columns.generation[row] ?? 0;
  }
  return new PackedRows(addresses, columns.addressIndex, words);
}

/** In place of Buffer's own methods, which take several times as long. */
export function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

function checkedLength(field: string, columns: Columns): number {
  const n = columns.addressIndex.length;
  if (n > rowsPerMessageMax) throw new FieldFault(field, `at most ${rowsPerMessageMax} rows`, `${n} rows`);
  checkLengths(field, n, [
    ["protocol", columns.protocol.length, 1],
    ["peer", columns.peer.length, mappedBytes],
    ["ports", columns.ports.length, portsBytes],
    ["state", columns.state.length, 1],
    ["opened_before_ms", columns.openedBeforeMs.length, 1],
    ["generation", columns.generation.length, 1],
  ]);
  return n;
}

/** Throws a {@link FieldFault} for a column that has not so much of each of `n` rows. */
export function checkLengths(
  field: string,
  n: number,
  lengths: readonly (readonly [name: string, found: number, perRow: number])[],
): void {
  for (const [name, found, perRow] of lengths)
    if (found !== perRow * n) throw new FieldFault(`${field}.${name}`, `the length of ${perRow * n}`, found);
}

function byNumber<Word extends string>(numbers: Readonly<Record<Word, number>>): readonly (Word | undefined)[] {
  const words: (Word | undefined)[] = [];
  for (const word in numbers) words[numbers[word]] = word;
  return words;
}
