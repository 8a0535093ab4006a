/** Changes of the sets that the agent writes: flows in, nft commands out. */

import { type IpAddress, ipAddressFromBytes } from "../flow/address.ts";
import type { FlowKey } from "../flow/flow.ts";
import type { LinkId } from "../node/state.ts";
import { closingSeconds, type FollowSet, type OwnerSet, setName, tableName } from "./names.ts";

/** nft takes about 10 ms for so many; more at once would hold up the agent's other work. */
export const elementsPerTransactionMax = 2_000;
/** As long as the holder remembers a handshake that it took. */
const mutedSeconds = 128;
/** An end is seven changes. */
export const endsPerTransactionMax = 250;

const elementKeyBytes = 12;

export function addFlows(kind: FollowSet, link: LinkId, keys: readonly FlowKey[]): string {
  return keys.length === 0
    ? ""
    : `add element ${tableName} ${setName.ofLink(kind, link)} { ${keys.map(tuple).join(", ")} }\n`;
}

/** A handshake that the owner has answered before the kernel here could see it. */
export function addHalfOpen(link: LinkId, keys: readonly FlowKey[], timeoutSeconds: number): string {
  return addForAWhile("half", link, keys.map(tuple), timeoutSeconds);
}

/** Ends of a connection, as its owner's socket has them. */
export interface SocketEnds {
  readonly remote: IpAddress;
  readonly remotePort: number;
  readonly localPort: number;
}

/** Flows of this owner that the holder has taken over from their clients. */
export function muteSockets(link: LinkId, sockets: readonly SocketEnds[]): string {
  const tuples = sockets.map(({ remote, remotePort, localPort }) => `${remote} . ${remotePort} . ${localPort}`);
  return addForAWhile("muted", link, tuples, mutedSeconds);
}

function addForAWhile(
  kind: "half" | OwnerSet,
  link: LinkId,
  tuples: readonly string[],
  timeoutSeconds: number,
): string {
  if (tuples.length === 0) return "";
  const elements = tuples.map((text) => `${text} timeout ${timeoutSeconds}s`);
  return `add element ${tableName} ${setName.ofLink(kind, link)} { ${elements.join(", ")} }\n`;
}

/**
 * The owner has confirmed the end of these flows. Each is added before it is deleted: nft 1.0.6 has no delete that
 * tolerates absence, and a transaction with one missing element would do nothing at all.
 */
export function endFlows(link: LinkId, keys: readonly FlowKey[]): string {
  if (keys.length === 0) return "";
  const list = `{ ${keys.map(tuple).join(", ")} }`;
  const remove = (["follow", "learnt"] as const).map((kind) => setName.ofLink(kind, link));
  const half = setName.ofLink("half", link);
  const timed = `{ ${keys.map((key) => `${tuple(key)} timeout 1s`).join(", ")} }`;
  const closing = `{ ${keys.map((key) => `${tuple(key)} timeout ${closingSeconds}s`).join(", ")} }`;
  return [
    `add element ${tableName} ${setName.ofLink("closing", link)} ${closing}`,
    ...remove.flatMap((set) => [
      `add element ${tableName} ${set} ${list}`,
      `delete element ${tableName} ${set} ${list}`,
    ]),
    `add element ${tableName} ${half} ${timed}`,
    `delete element ${tableName} ${half} ${list}`,
    "",
  ].join("\n");
}

/** The flow that an element's key names: the peer's address and two ports, each in four bytes. Undefined: no such key. */
export function flowOfElement(address: IpAddress, key: Uint8Array): FlowKey | undefined {
  if (key.length !== elementKeyBytes) return undefined;
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  const peer = ipAddressFromBytes(key.subarray(0, 4));
  return { address, protocol: "tcp", peer, peerPort: view.getUint16(4), port: view.getUint16(8) };
}

/** Replaces the ports with a listener bound to this very address. */
export function setBoundPorts(address: IpAddress, ports: readonly number[]): string {
  const set = setName.ofAddress("bound", address);
  const flush = `flush set ${tableName} ${set}\n`;
  return ports.length === 0 ? flush : `${flush}add element ${tableName} ${set} { ${ports.join(", ")} }\n`;
}

function tuple(key: FlowKey): string {
  return `${key.peer} . ${key.peerPort} . ${key.port}`;
}
