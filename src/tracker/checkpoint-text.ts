/**
 * What of a checkpoint is little and of changing form, as JSON: senders, and places of addresses. Sequences are texts. Pure.
 * Decoding throws whatever it stumbles over.
 */
import { type IpAddress, parseIpAddress } from "../flow/address.ts";
import type { AddressPlace } from "../placement/layout.ts";
import { RecordFault } from "./record.ts";
import type { Sender } from "./sender.ts";

/** As JSON gives it back. */
type Stored<T> = T extends bigint | IpAddress ? string : T extends object ? { [Key in keyof T]: Stored<T[Key]> } : T;

export function encodeSender(sender: Sender): string {
  return JSON.stringify(sender, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value));
}

export function decodeSenders(text: Buffer): Sender[] {
  return parse<Sender>(text).map(({ instance, boots, retired, broken, snapshot, forwards }) => {
    const sender: Sender = {
      instance,
      boots: boots.map(({ boot, sequence }) => ({ boot, sequence: BigInt(sequence) })),
      retired: [...retired],
      broken,
    };
    if (snapshot !== undefined) sender.snapshot = readSnapshot(snapshot);
    if (forwards !== undefined)
      sender.forwards = forwards.map(({ address, owner }) => ({ address: readAddress(address), owner }));
    return sender;
  });
}

export function encodePlace(place: AddressPlace): string {
  return JSON.stringify(place);
}

export function decodePlaces(text: Buffer): AddressPlace[] {
  return parse<AddressPlace>(text).map(readPlace);
}

function parse<T>(text: Buffer): Stored<T>[] {
  return JSON.parse(text.toString()) as Stored<T>[];
}

function readSnapshot(stored: Stored<NonNullable<Sender["snapshot"]>>): NonNullable<Sender["snapshot"]> {
  const { id, boot, begunAt, addresses, places, flows } = stored;
  return {
    id: BigInt(id),
    boot,
    begunAt: BigInt(begunAt),
    addresses: addresses.map(readAddress),
    places: places.map(readPlace),
    flows,
  };
}

function readPlace({ address, ...place }: Stored<AddressPlace>): AddressPlace {
  return { address: readAddress(address), ...place };
}

function readAddress(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new RecordFault(`an address that reads ${text}`);
  return address;
}
