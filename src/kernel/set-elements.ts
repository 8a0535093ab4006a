/**
 * What a set of nftables holds, read over netlink (linux/netfilter/nf_tables.h): libnftables would need seconds and
 * a text of a hundred megabytes for what a large set holds, in one call.
 */
import { concatBytes, textAttribute, walkAttributes } from "./attributes.ts";
import type { NetlinkSocket } from "./netlink.ts";

const nftablesSubsystem = 10;
const getSetElement = (nftablesSubsystem << 8) | 13;
/** NFPROTO_INET; then version and resource id, both 0. */
const inetHeader = Uint8Array.of(1, 0, 0, 0);
const listAttribute = { table: 1, set: 2, elements: 3 } as const;
const elementAttribute = 1;
const keyAttribute = 1;
const valueAttribute = 1;

/**
 * The key of each element of a set of an `inet` table, in steps, between which time may pass. Where the set changes meanwhile
 * an element may come twice or not at all. No other call on this socket may be made before the end.
 * @throws KernelError ENOENT where there is no such set
 */
export function* streamSetKeys(netlink: NetlinkSocket, table: string, set: string): Generator<Uint8Array> {
  const request = concatBytes([
    inetHeader,
    textAttribute(listAttribute.table, table),
    textAttribute(listAttribute.set, set),
  ]);
  for (const { payload } of netlink.stream(getSetElement, request, `list the elements of set ${set}`))
    yield* keysOf(payload);
}

/** The keys in one message of the kernel's answer; what does not add up is left out. */
export function keysOf(payload: Uint8Array): Uint8Array[] {
  const keys: Uint8Array[] = [];
  const within = (start: number, end: number, wanted: number, visit: (start: number, end: number) => void) =>
    void walkAttributes(payload, start, end, (type, from, to) => type === wanted && visit(from, to));
  within(inetHeader.length, payload.length, listAttribute.elements, (listStart, listEnd) =>
    within(listStart, listEnd, elementAttribute, (start, end) =>
      within(start, end, keyAttribute, (keyStart, keyEnd) =>
        within(keyStart, keyEnd, valueAttribute, (from, to) => void keys.push(payload.subarray(from, to))),
      ),
    ),
  );
  return keys;
}
