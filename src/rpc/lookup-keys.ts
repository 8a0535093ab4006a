/** The keys of a look-up of thousands of flows ↔ columns of equal length, without an object for each at the server. */
import { type IpAddress, mappedBytes, writeIpAddressWords } from "../flow/address.ts";
import type { FlowKey } from "../flow/flow.ts";
import { keyFromWords, keyWords, kindAt, portsAt, protocolBits, writeKeyWords } from "../flow/flow-words.ts";
import type { FlowKeyColumns, LookupFlowsRequest } from "../gen/baton/v1/tracker.ts";
import { FieldFault, readAddress, readList } from "./fields.ts";
import { readFlowKey } from "./flow-codec.ts";
import { AddressIndex, checkLengths, protocolNumbers, protocolsByNumber, viewOf } from "./flow-columns.ts";
import { lookupKeysMax } from "./tracker-limits.ts";

const portsBytes = 4;
const wordsPerAddress = mappedBytes / 4;

/** What is asked for, in the order asked. */
export interface AskedKeys {
  /** Public addresses, each once. */
  readonly addresses: readonly IpAddress[];
  /** Of each key: its place among the addresses. */
  readonly places: readonly number[];
  /** Of each key: the rest of it, as {@link keyWords} words. */
  readonly words: Uint32Array;
}

export function askedKey({ addresses, places, words }: AskedKeys, row: number): FlowKey {
  return keyFromWords(addresses[places[row] ?? -1] as IpAddress, words, keyWords * row);
}

export function keysOf(asked: AskedKeys): FlowKey[] {
  return asked.places.map((_, row) => askedKey(asked, row));
}

export function keysToColumns(keys: readonly FlowKey[]): FlowKeyColumns {
  const index = new AddressIndex();
  const n = keys.length;
  const columns = {
    addressIndex: new Array<number>(n),
    protocol: Buffer.allocUnsafe(n),
    peer: Buffer.allocUnsafe(mappedBytes * n),
    ports: Buffer.allocUnsafe(portsBytes * n),
  };
  const [peers, ports, words] = [viewOf(columns.peer), viewOf(columns.ports), new Uint32Array(wordsPerAddress)];
  for (let row = 0; row < n; row++) {
    const { address, protocol, peer, peerPort, port } = keys[row] as FlowKey;
    columns.addressIndex[row] = index.of(address);
    columns.protocol[row] = protocolNumbers[protocol];
    writeIpAddressWords(peer, words);
    for (let word = 0; word < wordsPerAddress; word++) peers.setUint32(mappedBytes * row + 4 * word, words[word] ?? 0);
    ports.setUint16(portsBytes * row, peerPort);
    ports.setUint16(portsBytes * row + 2, port);
  }
  return { ...columns, addresses: index.addresses };
}

/** The keys of a look-up, whichever way they were sent. Throws a {@link FieldFault}. */
export function readLookupKeys({ keys, columns }: LookupFlowsRequest): AskedKeys {
  if (columns === undefined)
    return wordsOfKeys(readList("keys", keys, lookupKeysMax, (key, field) => readFlowKey(field, key)));
  if (keys.length > 0) throw new FieldFault("keys", "none beside columns", `${keys.length} entries`);
  return wordsOfColumns(columns);
}

function wordsOfKeys(keys: readonly FlowKey[]): AskedKeys {
  const index = new AddressIndex();
  const words = new Uint32Array(keyWords * keys.length);
  const places = keys.map((key, row) => {
    writeKeyWords(key, words, keyWords * row);
    return index.of(key.address);
  });
  return { addresses: index.addresses, places, words };
}

function wordsOfColumns(columns: FlowKeyColumns): AskedKeys {
  const n = columns.addressIndex.length;
  if (n > lookupKeysMax) throw new FieldFault("columns", `at most ${lookupKeysMax} keys`, `${n} keys`);
  checkLengths("columns", n, [
    ["protocol", columns.protocol.length, 1],
    ["peer", columns.peer.length, mappedBytes],
    ["ports", columns.ports.length, portsBytes],
  ]);
  const addresses = readList("columns.addresses", columns.addresses, lookupKeysMax, (text, field) =>
    readAddress(field, text),
  );
  const [peers, ports, words] = [viewOf(columns.peer), viewOf(columns.ports), new Uint32Array(keyWords * n)];
  for (let row = 0; row < n; row++) {
    const place = columns.addressIndex[row] ?? -1;
    const protocol = protocolsByNumber[columns.protocol[row] ?? 0];
    if (place >= addresses.length) throw new FieldFault(`columns.address_index[${row}]`, "an index", place);
    if (protocol === undefined) throw new FieldFault(`columns.protocol[${row}]`, "6 or 17", columns.protocol[row]);
    const at = keyWords * row;
    for (let word = 0; word < wordsPerAddress; word++) words[at + word] = peers.getUint32(mappedBytes * row + 4 * word);
    // Big-endian, and the peer's port first: the word is as a table has it.
    words[at + portsAt] = ports.getUint32(portsBytes * row);
    words[at + kindAt] = protocolBits(protocol);
  }
  return { addresses, places: columns.addressIndex, words };
}
