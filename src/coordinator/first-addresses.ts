/** Addresses that the configuration names: each is mapped once, when its instance is first seen, and never again. */
import type { IpAddress } from "../flow/address.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { InventoryDesk } from "./inventory-desk.ts";

export interface FirstAddress {
  readonly address: IpAddress;
  readonly instance: string;
  readonly private?: IpAddress;
}

/** Whatever was added or removed by somebody before is left as it is. */
export async function addFirstAddresses(
  wanted: readonly FirstAddress[],
  cluster: ClusterState,
  desk: InventoryDesk,
): Promise<void> {
  for (const wish of wanted) {
    const { addresses, retiredGenerations, nodes } = cluster.inventory;
    if (addresses.has(wish.address) || retiredGenerations.has(wish.address)) continue;
    if (nodes.get(wish.instance)?.kind !== "agent") continue;
    await desk.addAddress(wish, "configuration");
  }
}
