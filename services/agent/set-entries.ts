/**
 * Which flows the kernel's sets of a link hold. What an earlier run of the agent has put there, and what the kernel has learnt
 * by itself, can't be known otherwise; it is asked for only where a snapshot has to be compared with it.
 */
import { flowOfElement } from "../../src/dataplane/elements.ts";
import { setName, tableName } from "../../src/dataplane/names.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { FlowKey } from "../../src/flow/flow.ts";
import { NetlinkSocket, netlinkFamily } from "../../src/kernel/netlink.ts";
import { streamSetKeys } from "../../src/kernel/set-elements.ts";
import type { LinkId } from "../../src/node/state.ts";
import { eachInSlices } from "../../src/runtime/slices.ts";

const sliceMs = 4;
const entriesPerLook = 64;
const table = tableName.split(" ").at(-1) ?? tableName;

/** In slices that leave the event loop to others in between. @throws KernelError ENOENT where the link is not followed any more */
export async function visitEntries(
  link: LinkId,
  address: IpAddress,
  visit: (key: FlowKey) => void,
  signal: AbortSignal,
): Promise<void> {
  using socket = new NetlinkSocket(netlinkFamily.netfilter);
  const visitElement = (element: Uint8Array) => {
    const key = flowOfElement(address, element);
    if (key !== undefined) visit(key);
  };
  for (const kind of ["follow", "learnt"] as const) {
    const keys = streamSetKeys(socket, table, setName.ofLink(kind, link));
    await eachInSlices(keys, visitElement, { sliceMs, itemsPerLook: entriesPerLook, signal });
  }
}
