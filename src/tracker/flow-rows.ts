/**
 * The database's rows of flows, in both directions, without an object or a buffer for each: a million of them are read
 * and written as fast as LevelDB gives and takes them.
 *
 * Key: shard, kind, address, protocol, port, peer, peer's port, owner. Value: version, state, when it opened, generation,
 * the sequence of the message that told of it last; then the checksum over key and value. That is begun with the CRC of what
 * an owner's rows at an address have in common, and takes the flow's words by the rounds of MurmurHash3: a CRC of each whole
 * row would take longer than all the rest of making it. Damage within one word is always found, other damage but for one
 * case in 2³².
 */
import { crc32 } from "node:zlib";
import { type IpAddress, ipAddressFromWords, mappedBytes, writeIpAddressWords } from "../flow/address.ts";
import type { LiveFlowState } from "../flow/flow.ts";
import { kindAt, kindOf, openedAtAt, portsAt, protocolAt, rowWords, stateAt } from "../flow/flow-words.ts";
import { flowKeyBytes, keyHeadBytes, protocols, RecordFault, rowKinds, states, writeRowHead } from "./record.ts";

/** At the end of every value. */
export const checksumBytes = 4;

/** Of the form that this program writes, and alone reads; 1 had a CRC. */
const flowRowVersion = 2;
const flowRowKeyBytes = keyHeadBytes + flowKeyBytes;
/** In a row's key. */
const protocolByte = keyHeadBytes + mappedBytes;
const portByte = protocolByte + 1;
const peerByte = portByte + 2;
const peerPortByte = peerByte + mappedBytes;
const recordHeadBytes = 2;
const recordBytes = recordHeadBytes + 4 * (rowWords - openedAtAt);
const wordsPerAddress = mappedBytes / 4;

/** Rows of one owner's flows at one address. Each overwrites the one before: it has to be taken before the next is asked for. */
export class FlowRowWriter {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly #view: DataView;
  /** Of what all these rows have in common. */
  readonly #begun: number;

  constructor(shard: number, owner: string, address: IpAddress) {
    const name = Buffer.from(owner);
    const keyBytes = flowRowKeyBytes + name.length;
    const bytes = Buffer.alloc(keyBytes + recordBytes + checksumBytes);
    bytes.set(name, flowRowKeyBytes);
    this.key = bytes.subarray(0, keyBytes);
    this.value = bytes.subarray(keyBytes);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    writeRowHead(this.#view, shard, rowKinds.flow);
    const words = new Uint32Array(wordsPerAddress);
    writeIpAddressWords(address, words);
    for (let n = 0; n < wordsPerAddress; n++) this.#view.setUint32(keyHeadBytes + 4 * n, words[n] ?? 0);
    this.#view.setUint8(keyBytes, flowRowVersion);
    this.#begun = beginChecksum(this.key);
  }

  /** The key of the flow whose words lie there. */
  setKey(words: Uint32Array, at: number): void {
    const [view, ports] = [this.#view, words[at + portsAt] ?? 0];
    view.setUint8(protocolByte, protocols.indexOf(protocolAt(words, at)));
    view.setUint16(portByte, ports);
    for (let n = 0; n < wordsPerAddress; n++) view.setUint32(peerByte + 4 * n, words[at + n] ?? 0);
    view.setUint16(peerPortByte, ports >>> 16);
  }

  /** Key and value of the flow whose row lies there. */
  setRow(words: Uint32Array, at: number): void {
    this.setKey(words, at);
    const [view, value] = [this.#view, this.key.length];
    view.setUint8(value + 1, states.indexOf(stateAt(words, at) as LiveFlowState));
    for (let n = openedAtAt; n < rowWords; n++)
      view.setUint32(value + recordHeadBytes + 4 * (n - openedAtAt), words[at + n] ?? 0);
    view.setUint32(value + recordBytes, checksumOf(this.#begun, words, at));
  }
}

/** Reads one row after the other. */
export class FlowRowReader {
  /** Of the row that was read last, until the next one. */
  readonly words = new Uint32Array(rowWords);
  readonly #addressWords = new Uint32Array(wordsPerAddress);
  #address: IpAddress | undefined;
  #owner = "";
  #ownerBytes: Buffer = Buffer.alloc(0);
  #shard = -1;
  #begun = 0;

  get address(): IpAddress {
    if (this.#address === undefined) throw new Error("no row was read yet");
    return this.#address;
  }

  get owner(): string {
    return this.#owner;
  }

  /** Throws a {@link RecordFault}. */
  read(key: Buffer, value: Buffer): void {
    if (key.length < flowRowKeyBytes) throw new RecordFault(`a flow's key of ${key.length} bytes`);
    if (value.length !== recordBytes + checksumBytes || value[0] !== flowRowVersion)
      throw new RecordFault(
        `a flow of ${value.length} bytes and version ${value[0]}; this program reads version ${flowRowVersion}`,
      );
    const protocol = protocols[key[protocolByte] ?? -1];
    if (protocol === undefined) throw new RecordFault(`a flow's protocol ${key[protocolByte]}`);
    const state = states[value[1] ?? -1];
    if (state === undefined) throw new RecordFault(`a flow's state ${value[1]}`);
    const words = this.words;
    for (let n = 0; n < wordsPerAddress; n++) words[n] = wordOf(key, peerByte + 4 * n);
    words[portsAt] = (shortOf(key, peerPortByte) << 16) | shortOf(key, portByte);
    words[kindAt] = kindOf(protocol, state);
    for (let n = openedAtAt; n < rowWords; n++) words[n] = wordOf(value, recordHeadBytes + 4 * (n - openedAtAt));
    const hasShard = this.#readShard(key);
    const hasAddress = this.#readAddress(key);
    const hasOwner = this.#readOwner(key);
    if (!(hasShard && hasAddress && hasOwner)) this.#begun = beginChecksum(key);
    if (wordOf(value, recordBytes) !== checksumOf(this.#begun, words, 0))
      throw new RecordFault(`a flow of ${value.length} bytes whose checksum is wrong`);
  }

  /** True: it is that of the row before; so with the address and the owner. */
  #readShard(key: Buffer): boolean {
    const [known, shard] = [this.#shard, shortOf(key, 0)];
    this.#shard = shard;
    return shard === known;
  }

  /** Rows of an address lie together. */
  #readAddress(key: Buffer): boolean {
    let isKnown = this.#address !== undefined;
    for (let n = 0; n < wordsPerAddress; n++) {
      const word = wordOf(key, keyHeadBytes + 4 * n);
      isKnown &&= word === this.#addressWords[n];
      this.#addressWords[n] = word;
    }
    if (!isKnown) this.#address = ipAddressFromWords(this.#addressWords);
    return isKnown;
  }

  #readOwner(key: Buffer): boolean {
    const [length, known] = [key.length - flowRowKeyBytes, this.#ownerBytes];
    let isKnown = length === known.length;
    for (let n = 0; isKnown && n < length; n++) isKnown = key[flowRowKeyBytes + n] === known[n];
    if (isKnown) return true;
    this.#ownerBytes = Buffer.from(key.subarray(flowRowKeyBytes));
    this.#owner = this.#ownerBytes.toString();
    return false;
  }
}

/** Of shard, kind, address and owner, as the key has them. */
function beginChecksum(key: Buffer): number {
  return crc32(key.subarray(flowRowKeyBytes), crc32(key.subarray(0, protocolByte)));
}

function checksumOf(begun: number, words: Uint32Array, at: number): number {
  let hash = begun;
  for (let n = 0; n < rowWords; n++) {
    const word = Math.imul(words[at + n] ?? 0, 0xcc9e2d51);
    hash ^= Math.imul((word << 15) | (word >>> 17), 0x1b873593);
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  return hash >>> 0;
}

/** Buffer's own methods take several times as long. */
function wordOf(bytes: Buffer, at: number): number {
  return ((shortOf(bytes, at) << 16) | shortOf(bytes, at + 2)) >>> 0;
}

function shortOf(bytes: Buffer, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
