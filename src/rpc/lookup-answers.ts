/** The answers to a look-up of thousands of flows ↔ columns of equal length: what FlowAnswer says, row by row. */
import type { FlowAnswer } from "../flow/answer.ts";
import type { Flow, FlowKey } from "../flow/flow.ts";
import { openedAtAt } from "../flow/flow-words.ts";
import type { FlowAnswerColumns, LookupFlowsRequest, LookupFlowsResponse } from "../gen/baton/v1/tracker.ts";
import type { FoundPlace } from "../tracker/address-flows.ts";
import { FieldFault, readCount, readName, readPresent, readText } from "./fields.ts";
import { answerToProto } from "./flow-codec.ts";
import { checkLengths, stateNumbers, statesByNumber, viewOf } from "./flow-columns.ts";

const kinds = { owned: 1, closed: 2, absent: 3, unknown: 4 } as const satisfies Record<FlowAnswer["kind"], number>;

/** In the column of kinds. */
export const unknownKind = kinds.unknown;

const numbersBytes = 16;
const noText = "";
const twoTo32 = 0x1_0000_0000;
/** High half of the largest number that is exact. */
const safeHighMax = 0x1f_ffff;

/** Takes one answer for each row, in any order, and is the columns then. */
export class AnswerRows implements FlowAnswerColumns {
  readonly kind: Buffer;
  readonly texts: string[] = [noText];
  readonly textIndex: number[];
  readonly viaIndex: number[];
  readonly state: Buffer;
  readonly numbers: Buffer;
  readonly #numbers: DataView;
  readonly #places = new Map([[noText, 0]]);
  /** Neighbours have mostly the same. */
  #lastText = noText;
  #lastPlace = 0;

  constructor(rows: number) {
    this.kind = Buffer.alloc(rows);
    this.textIndex = new Array<number>(rows).fill(0);
    this.viaIndex = new Array<number>(rows).fill(0);
    this.state = Buffer.alloc(rows);
    this.numbers = Buffer.alloc(numbersBytes * rows);
    this.#numbers = viewOf(this.numbers);
  }

  owned(row: number, { owner, via, slab, slot }: FoundPlace): void {
    this.kind[row] = kinds.owned;
    this.textIndex[row] = this.#placeOf(owner);
    if (via !== undefined) this.viaIndex[row] = this.#placeOf(via);
    this.state[row] = stateNumbers[slab.stateAt(slot)];
    // When it opened and its generation: they lie there as they are sent.
    for (let word = 0; word < numbersBytes / 4; word++)
      this.#numbers.setUint32(numbersBytes * row + 4 * word, slab.wordAt(slot, openedAtAt + word));
  }

  take(row: number, answer: FlowAnswer): void {
    switch (answer.kind) {
      case "owned":
        this.#flow(row, answer.flow);
        return;
      case "closed":
        this.closed(row, answer.owner, answer.appliedSequence);
        return;
      case "absent":
        this.absent(row, answer.appliedSequence);
        return;
      case "unknown":
        this.unknown(row, answer.reason);
        return;
      default:
        answer satisfies never;
    }
  }

  closed(row: number, owner: string, appliedSequence: bigint): void {
    this.kind[row] = kinds.closed;
    this.textIndex[row] = this.#placeOf(owner);
    this.#numbers.setBigUint64(numbersBytes * row, appliedSequence);
  }

  absent(row: number, appliedSequence: bigint): void {
    this.kind[row] = kinds.absent;
    this.#numbers.setBigUint64(numbersBytes * row, appliedSequence);
  }

  unknown(row: number, reason: string): void {
    this.kind[row] = kinds.unknown;
    this.textIndex[row] = this.#placeOf(reason);
  }

  #flow(row: number, { owner, via, state, openedAtMs, generation }: Flow): void {
    this.kind[row] = kinds.owned;
    this.textIndex[row] = this.#placeOf(owner);
    this.viaIndex[row] = this.#placeOf(via ?? noText);
    this.state[row] = stateNumbers[state];
    this.#numbers.setBigUint64(numbersBytes * row, BigInt(openedAtMs));
    this.#numbers.setBigUint64(numbersBytes * row + 8, generation);
  }

  #placeOf(text: string): number {
    if (text === this.#lastText) return this.#lastPlace;
    let place = this.#places.get(text);
    if (place === undefined) {
      place = this.texts.push(text) - 1;
      this.#places.set(text, place);
    }
    this.#lastText = text;
    this.#lastPlace = place;
    return place;
  }
}

/** The answers, in the way in which the keys were sent. */
export function lookupResponse({ columns }: LookupFlowsRequest, answers: readonly FlowAnswer[]): LookupFlowsResponse {
  if (columns === undefined) return { answers: answers.map(answerToProto), columns: undefined };
  const rows = new AnswerRows(answers.length);
  for (const [row, answer] of answers.entries()) rows.take(row, answer);
  return { answers: [], columns: rows };
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
  const names = new Names(columns.texts);
  const numbers = viewOf(columns.numbers);
  // Thousands of rows have a handful of generations; one bigint each is enough.
  let [generation, generationHigh, generationLow] = [0n, 0, 0];
  return keys.map((key, row): FlowAnswer => {
    const at = numbersBytes * row;
    const place = columns.textIndex[row] ?? 0;
    switch (columns.kind[row]) {
      case kinds.owned: {
        const state = statesByNumber[columns.state[row] ?? 0];
        if (state === undefined) throw new FieldFault(`columns.state[${row}]`, "1 to 4", columns.state[row]);
        const [high, low] = [numbers.getUint32(at + 8), numbers.getUint32(at + 12)];
        if (high !== generationHigh || low !== generationLow) {
          generation = numbers.getBigUint64(at + 8);
          [generationHigh, generationLow] = [high, low];
        }
        const via = columns.viaIndex[row] ?? 0;
        const flow = { key, owner: names.at(place), state, openedAtMs: readTime(numbers, at), generation };
        return { kind: "owned", flow: via === 0 ? flow : { ...flow, via: names.at(via) } };
      }
      case kinds.closed:
        return { kind: "closed", owner: names.at(place), appliedSequence: numbers.getBigUint64(at) };
      case kinds.absent:
        return { kind: "absent", appliedSequence: numbers.getBigUint64(at) };
      case kinds.unknown:
        return { kind: "unknown", reason: readText("columns.texts", columns.texts[place] ?? noText) };
      default:
        throw new FieldFault(`columns.kind[${row}]`, "1 to 4", columns.kind[row]);
    }
  });
}

/** In place of a bigint, which is slower by far. */
function readTime(numbers: DataView, at: number): number {
  const high = numbers.getUint32(at);
  if (high > safeHighMax) return readCount("columns.numbers", numbers.getBigUint64(at));
  return high * twoTo32 + numbers.getUint32(at + 4);
}

/** Most texts are names of which thousands of rows speak; others are no names. */
class Names {
  readonly #texts: readonly string[];
  readonly #known: (string | undefined)[] = [];

  constructor(texts: readonly string[]) {
    this.#texts = texts;
  }

  at(place: number): string {
    const known = this.#known[place];
    if (known !== undefined) return known;
    const name = readName("columns.texts", readPresent("columns.text_index", this.#texts[place]));
    this.#known[place] = name;
    return name;
  }
}
