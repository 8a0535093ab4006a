/** Look-ups of thousands of flows: keys and answers as columns of equal length, and the same one by one. */
import { ipAddressFromWords, mappedBytes, writeIpAddressWords } from "../flow/address.ts";
import type { FlowAnswer } from "../flow/answer.ts";
import { addressesPerMessageMax } from "../flow/events.ts";
import type { FlowKey } from "../flow/flow.ts";
import type {
  FlowAnswerColumns,
  FlowKeyColumns,
  LookupFlowsRequest,
  LookupFlowsResponse,
} from "../gen/baton/v1/tracker.ts";
import { FieldFault, readAddress, readCount, readList, readName, readPresent, readText } from "./fields.ts";
import { answerToProto, readFlowKey } from "./flow-codec.ts";
import {
  AddressIndex,
  checkLengths,
  protocolNumbers,
  protocolsByNumber,
  stateNumbers,
  statesByNumber,
  viewOf,
} from "./flow-columns.ts";
import { lookupKeysMax } from "./tracker-limits.ts";

const kinds = { owned: 1, closed: 2, absent: 3, unknown: 4 } as const satisfies Record<FlowAnswer["kind"], number>;

/** In the column of kinds. */
export const unknownKind = kinds.unknown;

const portsBytes = 4;
const numbersBytes = 16;
const wordsPerAddress = mappedBytes / 4;
const noText = "";

export function keysToColumns(keys: readonly FlowKey[]): FlowKeyColumns {
  const index = new AddressIndex();
  const columns = {
    addressIndex: keys.map(({ address }) => index.of(address)),
    protocol: Buffer.from(keys.map(({ protocol }) => protocolNumbers[protocol])),
    peer: Buffer.alloc(mappedBytes * keys.length),
    ports: Buffer.alloc(portsBytes * keys.length),
  };
  const [peers, ports, words] = [viewOf(columns.peer), viewOf(columns.ports), new Uint32Array(wordsPerAddress)];
  for (const [row, { peer, peerPort, port }] of keys.entries()) {
    writeIpAddressWords(peer, words);
    for (let word = 0; word < wordsPerAddress; word++) peers.setUint32(mappedBytes * row + 4 * word, words[word] ?? 0);
    ports.setUint16(portsBytes * row, peerPort);
    ports.setUint16(portsBytes * row + 2, port);
  }
  return { ...columns, addresses: index.addresses };
}

/** The keys of a look-up, whichever way they were sent. */
export function readLookupKeys({ keys, columns }: LookupFlowsRequest): FlowKey[] {
  if (columns === undefined) return readList("keys", keys, lookupKeysMax, (key, field) => readFlowKey(field, key));
  if (keys.length > 0) throw new FieldFault("keys", "none beside columns", `${keys.length} entries`);
  return keysFromColumns(columns);
}

/** The answers, in the way in which the keys were sent. */
export function lookupResponse({ columns }: LookupFlowsRequest, answers: readonly FlowAnswer[]): LookupFlowsResponse {
  if (columns === undefined) return { answers: answers.map(answerToProto), columns: undefined };
  return { answers: [], columns: answersToColumns(answers) };
}

function keysFromColumns(columns: FlowKeyColumns): FlowKey[] {
  const n = columns.addressIndex.length;
  if (n > lookupKeysMax) throw new FieldFault("columns", `at most ${lookupKeysMax} keys`, `${n} keys`);
  checkLengths("columns", n, [
    ["protocol", columns.protocol.length, 1],
    ["peer", columns.peer.length, mappedBytes],
    ["ports", columns.ports.length, portsBytes],
  ]);
  const addresses = readList("columns.addresses", columns.addresses, addressesPerMessageMax, (text, field) =>
    readAddress(field, text),
  );
  const [peers, ports, words] = [viewOf(columns.peer), viewOf(columns.ports), new Uint32Array(wordsPerAddress)];
  return columns.addressIndex.map((place, row): FlowKey => {
    const address = addresses[place];
    const protocol = protocolsByNumber[columns.protocol[row] ?? 0];
    if (address === undefined) throw new FieldFault(`columns.address_index[${row}]`, "an index", place);
    if (protocol === undefined) throw new FieldFault(`columns.protocol[${row}]`, "6 or 17", columns.protocol[row]);
    for (let word = 0; word < wordsPerAddress; word++) words[word] = peers.getUint32(mappedBytes * row + 4 * word);
    return {
      address,
      protocol,
      peer: ipAddressFromWords(words),
      peerPort: ports.getUint16(portsBytes * row),
      port: ports.getUint16(portsBytes * row + 2),
    };
  });
}

function answersToColumns(answers: readonly FlowAnswer[]): FlowAnswerColumns {
  const n = answers.length;
  const texts = new Map([[noText, 0]]);
  const columns = {
    kind: Buffer.alloc(n),
    textIndex: new Array<number>(n).fill(0),
    viaIndex: new Array<number>(n).fill(0),
    state: Buffer.alloc(n),
    numbers: Buffer.alloc(numbersBytes * n),
  };
  const numbers = viewOf(columns.numbers);
  for (const [row, answer] of answers.entries()) {
    columns.kind[row] = kinds[answer.kind];
    switch (answer.kind) {
      case "owned":
        columns.textIndex[row] = placeOf(texts, answer.flow.owner);
        columns.viaIndex[row] = placeOf(texts, answer.flow.via ?? noText);
        columns.state[row] = stateNumbers[answer.flow.state];
        numbers.setBigUint64(numbersBytes * row, BigInt(answer.flow.openedAtMs));
        numbers.setBigUint64(numbersBytes * row + 8, answer.flow.generation);
        break;
      case "closed":
        columns.textIndex[row] = placeOf(texts, answer.owner);
        numbers.setBigUint64(numbersBytes * row, answer.appliedSequence);
        break;
      case "absent":
        numbers.setBigUint64(numbersBytes * row, answer.appliedSequence);
        break;
      case "unknown":
        columns.textIndex[row] = placeOf(texts, answer.reason);
        break;
    }
  }
  return { ...columns, texts: [...texts.keys()] };
}

function placeOf(texts: Map<string, number>, text: string): number {
  const known = texts.get(text);
  if (known !== undefined) return known;
  texts.set(text, texts.size);
  return texts.size - 1;
}

/** What was answered to these keys, in their order. Throws a {@link FieldFault}. */
export function readAnswerColumns(keys: readonly FlowKey[], sent: FlowAnswerColumns | undefined): FlowAnswer[] {
  const columns = readPresent("columns", sent);
  checkLengths("columns", keys.length, [
    ["kind", columns.kind.length, 1],
    ["text_index", columns.textIndex.length, 1],
    ["via_index", columns.viaIndex.length, 1],
    ["state", columns.state.length, 1],
    ["numbers", columns.numbers.length, numbersBytes],
  ]);
  const names = columns.texts.map((text) => once(() => readName("columns.texts", text)));
  const numbers = viewOf(columns.numbers);
  return keys.map((key, row): FlowAnswer => {
    const place = columns.textIndex[row] ?? 0;
    const name = (): string => readPresent("columns.text_index", names[place])();
    const first = numbers.getBigUint64(numbersBytes * row);
    switch (columns.kind[row]) {
      case kinds.owned: {
        const state = statesByNumber[columns.state[row] ?? 0];
        if (state === undefined) throw new FieldFault(`columns.state[${row}]`, "1 to 4", columns.state[row]);
        const generation = numbers.getBigUint64(numbersBytes * row + 8);
        const flow = { key, owner: name(), state, openedAtMs: readCount("columns.numbers", first), generation };
        const via = columns.viaIndex[row] ?? 0;
        return { kind: "owned", flow: via === 0 ? flow : { ...flow, via: readPresent("via_index", names[via])() } };
      }
      case kinds.closed:
        return { kind: "closed", owner: name(), appliedSequence: first };
      case kinds.absent:
        return { kind: "absent", appliedSequence: first };
      case kinds.unknown:
        return { kind: "unknown", reason: readText("columns.texts", columns.texts[place] ?? noText) };
      default:
        throw new FieldFault(`columns.kind[${row}]`, "1 to 4", columns.kind[row]);
    }
  });
}

/** Most texts are names of which thousands of rows speak; others are no names. */
function once(read: () => string): () => string {
  let known: string | undefined;
  return () => {
    known ??= read();
    return known;
  };
}
