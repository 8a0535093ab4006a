/**
 * Reading single fields of a message that came from outside. Each reader returns a valid domain value or throws a
 * {@link FieldFault}; {@link decode} turns that into a value at the edge of a codec.
 */
import { createHash } from "node:crypto";
import { type IpAddress, type Prefix, parseIpAddress, parsePrefix } from "../flow/address.ts";
import { idCharactersMax, nameCharactersMax, textCharactersMax } from "./limits.ts";

export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly message: string };

/** A field that doesn't hold what it should. Text from outside goes into `found` quoted, by JSON.stringify. */
export class FieldFault extends Error {
  constructor(field: string, expected: string, found: unknown) {
    super(`${field}: expected ${expected}, found ${shown(found)}`);
  }
}

const shownCharactersMax = 80;

function shown(found: unknown): string {
  const text = String(found);
  return text.length <= shownCharactersMax ? text : `${text.slice(0, shownCharactersMax)}…`;
}

export function decode<T>(read: () => T): Decoded<T> {
  try {
    return { ok: true, value: read() };
  } catch (error) {
    if (error instanceof FieldFault) return { ok: false, message: error.message };
    throw error;
  }
}

export function readAddress(field: string, text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new FieldFault(field, "an IP address", JSON.stringify(text));
  return address;
}

export function readPrefix(field: string, text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new FieldFault(field, "a network prefix", JSON.stringify(text));
  return prefix;
}

const nameForm = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** Name of an instance, gateway, coordinator or tracker: safe in a file name, a subject and a rule's comment. */
export function readName(field: string, text: string): string {
  if (text.length > nameCharactersMax || !nameForm.test(text))
    throw new FieldFault(
      field,
      `a name of 1 to ${nameCharactersMax} letters, digits, ".", "_", "-"`,
      JSON.stringify(text),
    );
  return text;
}

const printable = /^[\x21-\x7e]+$/;

export function readId(field: string, text: string): string {
  if (text.length > idCharactersMax || !printable.test(text))
    throw new FieldFault(field, `1 to ${idCharactersMax} printable characters`, JSON.stringify(text));
  return text;
}

/** Free text for people; control characters would disturb terminals and logs. */
export function readText(field: string, text: string): string {
  if (text.length > textCharactersMax)
    throw new FieldFault(field, `at most ${textCharactersMax} characters`, `${text.length} characters`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "�");
}

/** A word of a list that may get more of them. */
export function readOneOf<T extends string>(field: string, known: readonly T[], text: string): T {
  const found = known.find((word) => word === text);
  if (found === undefined) throw new FieldFault(field, `one of ${known.join(", ")}`, JSON.stringify(text));
  return found;
}

export function readList<T, R>(
  field: string,
  items: readonly T[],
  max: number,
  read: (item: T, field: string) => R,
): R[] {
  if (items.length > max) throw new FieldFault(field, `at most ${max} entries`, `${items.length} entries`);
  return items.map((item, index) => read(item, `${field}[${index}]`));
}

export function readInteger(field: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new FieldFault(field, `a whole number from ${min} to ${max}`, value);
  return value;
}

/** A 64-bit number that the domain keeps as a number. */
export function readCount(field: string, value: bigint): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new FieldFault(field, "a number from 0 to 2^53-1", value);
  return Number(value);
}

export function readDecimal(field: string, value: number): number {
  if (!Number.isFinite(value) || value < 0) throw new FieldFault(field, "a number from 0", value);
  return value;
}

export function readPresent<T>(field: string, value: T | undefined): T {
  if (value === undefined) throw new FieldFault(field, "a value", "none");
  return value;
}

export function readHex(field: string, bytes: Uint8Array, length: number): string {
  if (bytes.length !== length) throw new FieldFault(field, `${length} bytes`, `${bytes.length} bytes`);
  return bytesToHex(bytes);
}

/** "aa:bb:cc:dd:ee:ff", or empty for none. */
export function readLinkAddress(field: string, bytes: Uint8Array): string {
  if (bytes.length === 0) return "";
  return readHex(field, bytes, 6).replace(/..(?=.)/g, "$&:");
}

export function linkAddressToBytes(text: string): Uint8Array {
  return hexToBytes(text.replaceAll(":", ""));
}

export function bytesToHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

export function hexToBytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

/** SHA-256 of an encoded state, hexadecimal. */
export function digestOfState(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
