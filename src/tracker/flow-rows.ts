/**
 * The rows of flows for one batch of the database, each owner's in one piece of memory: a row overwrites the one before,
 * so a batch must take it before the next is asked for. A million rows would otherwise be millions of buffers.
 */
import { crc32 } from "node:zlib";
import type { IpAddress } from "../flow/address.ts";
import type { FlowKey } from "../flow/flow.ts";
import type { FlowFacts } from "./flow-slab.ts";
import { flowRowKeyBytes, recordBytes, writeFlowRowKey, writeRecord } from "./record.ts";

/** At the end of every value. */
export const checksumBytes = 4;

interface OwnerRow {
  readonly view: DataView;
  readonly key: Buffer;
  readonly value: Buffer;
  /** Key and value, without the checksum over them that is the value's end. */
  readonly checked: Buffer;
  /** That the key in the memory has. */
  address: IpAddress | undefined;
}

export class FlowRows {
  readonly #shard: number;
  readonly #owners = new Map<string, OwnerRow>();

  constructor(shard: number) {
    this.#shard = shard;
  }

  key(owner: string, key: FlowKey): Buffer {
    return this.#keyed(owner, key).key;
  }

  row(owner: string, key: FlowKey, facts: FlowFacts): { readonly key: Buffer; readonly value: Buffer } {
    const row = this.#keyed(owner, key);
    writeRecord(row.view, row.key.length, facts);
    row.view.setUint32(row.checked.length, crc32(row.checked));
    return row;
  }

  #keyed(owner: string, key: FlowKey): OwnerRow {
    let row = this.#owners.get(owner);
    if (row === undefined) {
      row = newRow(owner);
      this.#owners.set(owner, row);
    }
    writeFlowRowKey(row.view, this.#shard, key, row.address !== key.address);
    row.address = key.address;
    return row;
  }
}

function newRow(owner: string): OwnerRow {
  const name = Buffer.from(owner);
  const keyBytes = flowRowKeyBytes + name.length;
  const bytes = Buffer.alloc(keyBytes + recordBytes + checksumBytes);
  bytes.set(name, flowRowKeyBytes);
  return {
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
    key: bytes.subarray(0, keyBytes),
    value: bytes.subarray(keyBytes),
    checked: bytes.subarray(0, keyBytes + recordBytes),
    address: undefined,
  };
}
