/**
 * FlowEventBatch ↔ the bytes of proto/baton/v1/flow.proto.
 *
 * Built for batches of thousands: rows travel as columns. Whatever decodes is valid: columns agree in length, indices
 * are in range, sizes are bounded, addresses canonical.
 */
import type { IpAddress } from "../flow/address.ts";
import {
  addressesPerMessageMax,
  type Coalesced,
  type FlowEvent,
  type FlowEventBatch,
  type Forward,
  shardsMax,
} from "../flow/events.ts";
import type { PackedRows } from "../flow/packed-rows.ts";
import { type Forward as ForwardMessage, FlowEventBatch as Message } from "../gen/baton/v1/flow.ts";
import {
  type Decoded,
  decode,
  FieldFault,
  hexToBytes,
  readAddress,
  readHex,
  readId,
  readInteger,
  readList,
  readName,
} from "./fields.ts";
import { AddressIndex, type Columns, columnsFromRows, rowsFromColumns } from "./flow-columns.ts";
import { placeToProto, readPlaces } from "./layout-codec.ts";

const bootBytes = 16;

type Body = NonNullable<Message["body"]>;

export function encodeFlowEventBatch(batch: FlowEventBatch): Uint8Array {
  const { body, baseMs, addresses } = bodyToProto(batch.body);
  const message: Message = {
    instance: batch.instance,
    boot: Buffer.from(hexToBytes(batch.boot)),
    shard: batch.shard,
    sequence: batch.sequence,
    baseMs: BigInt(baseMs),
    addresses: [...addresses],
    body,
  };
  return Message.encode(message).finish();
}

export function decodeFlowEventBatch(data: Uint8Array): Decoded<FlowEventBatch<PackedRows>> {
  let message: Message;
  try {
    message = Message.decode(data);
  } catch (error) {
    return { ok: false, message: `not a FlowEventBatch: ${error instanceof Error ? error.message : String(error)}` };
  }
  return decode(() => readBatch(message));
}

interface EncodedBody {
  readonly body: Body;
  readonly baseMs: number;
  readonly addresses: readonly string[];
}

function bodyToProto(event: FlowEvent): EncodedBody {
  const plain = (body: Body, addresses: readonly string[] = []): EncodedBody => ({ body, baseMs: 0, addresses });
  switch (event.kind) {
    case "changes": {
      const index = new AddressIndex();
      const { flows, baseMs } = columnsFromRows(event.rows, index);
      for (const { address } of event.coalesced) index.of(address);
      const coalesced = event.coalesced.length === 0 ? [] : coalescedColumn(event.coalesced, index);
      return { body: { $case: "changes", value: { flows, coalesced } }, baseMs, addresses: index.addresses };
    }
    case "snapshot-begin":
      return plain(
        { $case: "snapshotBegin", value: { snapshot: event.snapshot, places: event.places.map(placeToProto) } },
        event.addresses,
      );
    case "snapshot-page": {
      const index = new AddressIndex();
      const { flows, baseMs } = columnsFromRows(event.rows, index);
      const value = { snapshot: event.snapshot, flows };
      return { body: { $case: "snapshotPage", value }, baseMs, addresses: index.addresses };
    }
    case "snapshot-end":
      return plain({ $case: "snapshotEnd", value: { snapshot: event.snapshot, flows: event.flows } });
    case "barrier":
      return plain({ $case: "barrier", value: { id: event.id } });
    case "tick":
      return plain({ $case: "tick", value: {} });
    case "digest":
      return plain({ $case: "digest", value: { flows: event.flows, keyXor: event.keyXor } });
    case "places":
      return plain({ $case: "places", value: { places: event.places.map(placeToProto), released: event.released } });
    case "forwarding": {
      const index = new AddressIndex();
      const forwards = event.forwards.map(({ address, owner }) => ({ addressIndex: index.of(address), owner }));
      return plain({ $case: "forwarding", value: { forwards } }, index.addresses);
    }
    case "address-owned": {
      const { address, instance, generation } = event;
      return plain({ $case: "addressOwned", value: { address, instance, generation } });
    }
    case "instance-gone":
      return plain({ $case: "instanceGone", value: { instance: event.instance } });
  }
}

function coalescedColumn(coalesced: readonly Coalesced[], index: AddressIndex): number[] {
  const column = Array<number>(index.addresses.length).fill(0);
  for (const { address, flows } of coalesced) column[index.of(address)] = flows;
  return column;
}

function readBatch(message: Message): FlowEventBatch<PackedRows> {
  if (message.body === undefined) throw new FieldFault("body", "one of its kinds", "none");
  const addresses = readList("addresses", message.addresses, addressesPerMessageMax, (text, field) =>
    readAddress(field, text),
  );
  const body = readBody(message.body, message.baseMs, addresses);
  const shard = readInteger("shard", message.shard, 0, shardsMax - 1);
  if (body.kind === "address-owned" || body.kind === "instance-gone")
    return { instance: "", boot: "", shard, sequence: 0n, body };
  if (message.sequence < 1n) throw new FieldFault("sequence", "1 or more", message.sequence);
  const instance = readName("instance", message.instance);
  return { instance, boot: readHex("boot", message.boot, bootBytes), shard, sequence: message.sequence, body };
}

function readBody(body: Body, baseMs: bigint, addresses: readonly IpAddress[]): FlowEvent<PackedRows> {
  const rows = (field: string, columns: Columns | undefined) => rowsFromColumns(field, columns, baseMs, addresses);
  switch (body.$case) {
    case "changes":
      return {
        kind: "changes",
        rows: rows("changes.flows", body.value.flows),
        coalesced: readCoalesced(body.value.coalesced, addresses),
      };
    case "snapshotBegin":
      return {
        kind: "snapshot-begin",
        snapshot: body.value.snapshot,
        addresses,
        places: readPlaces("snapshot_begin.places", body.value.places, addressesPerMessageMax),
      };
    case "snapshotPage":
      return {
        kind: "snapshot-page",
        snapshot: body.value.snapshot,
        rows: rows("snapshot_page.flows", body.value.flows),
      };
    case "snapshotEnd":
      return { kind: "snapshot-end", snapshot: body.value.snapshot, flows: body.value.flows };
    case "barrier":
      return { kind: "barrier", id: readId("barrier.id", body.value.id) };
    case "tick":
      return { kind: "tick" };
    case "digest":
      return { kind: "digest", flows: body.value.flows, keyXor: body.value.keyXor };
    case "places":
      return {
        kind: "places",
        places: readPlaces("places.places", body.value.places, addressesPerMessageMax),
        released: body.value.released,
      };
    case "forwarding":
      return { kind: "forwarding", forwards: readForwards(body.value.forwards, addresses) };
    case "addressOwned": {
      const { address, instance, generation } = body.value;
      return {
        kind: "address-owned",
        address: readAddress("address_owned.address", address),
        instance: readName("address_owned.instance", instance),
        generation,
      };
    }
    case "instanceGone":
      return { kind: "instance-gone", instance: readName("instance_gone.instance", body.value.instance) };
  }
}

function readForwards(forwards: readonly ForwardMessage[], addresses: readonly IpAddress[]): Forward[] {
  return readList("forwarding.forwards", forwards, addressesPerMessageMax, ({ addressIndex, owner }, field) => {
    const address = addresses[addressIndex];
    if (address === undefined) throw new FieldFault(`${field}.address_index`, "an index", addressIndex);
    return { address, owner: readName(`${field}.owner`, owner) };
  });
}

function readCoalesced(column: readonly number[], addresses: readonly IpAddress[]): Coalesced[] {
  if (column.length !== 0 && column.length !== addresses.length)
    throw new FieldFault("changes.coalesced", `none or ${addresses.length} entries`, `${column.length} entries`);
  return addresses.flatMap((address, index) => {
    const flows = column[index] ?? 0;
    return flows === 0 ? [] : [{ address, flows }];
  });
}
