/**
 * The table of public addresses, and the nodes that were ever seen.
 *
 * Invariants: one public address has one (instance, private address) and one such pair has at most one public address,
 * because a stateless edge cannot tell two public addresses apart that share a private one. A generation never
 * goes down, also when an address is removed and added again.
 */
import { familyOf, type IpAddress, type Prefix, prefixContains } from "../flow/address.ts";
import type { NodeKind } from "../node/status.ts";
import type { BatonError } from "../remap/error.ts";

export interface AddressRecord {
  readonly address: IpAddress;
  readonly instance: string;
  readonly private: IpAddress;
  readonly generation: bigint;
}

/** A node that was seen. `privateAddresses` of agents only, in order of preference. */
export interface NodeRecord {
  readonly name: string;
  readonly kind: NodeKind;
  readonly privateAddresses: readonly IpAddress[];
  readonly version: string;
  readonly firstSeenMs: number;
}

export interface Inventory {
  readonly addresses: ReadonlyMap<IpAddress, AddressRecord>;
  /** Generations of addresses that were removed. */
  readonly retiredGenerations: ReadonlyMap<IpAddress, bigint>;
  readonly nodes: ReadonlyMap<string, NodeRecord>;
}

/** One change of the inventory, as it is stored. */
export type InventoryEntry =
  | { readonly kind: "address-set"; readonly record: AddressRecord }
  | { readonly kind: "address-removed"; readonly address: IpAddress; readonly generation: bigint }
  | { readonly kind: "node-set"; readonly record: NodeRecord }
  | { readonly kind: "node-removed"; readonly name: string };

/** A private address that is taken: by whom, and at which instance. */
export interface Reservation {
  readonly address: IpAddress;
  readonly instance: string;
  readonly private: IpAddress;
}

export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly refusal: BatonError };

export const emptyInventory: Inventory = { addresses: new Map(), retiredGenerations: new Map(), nodes: new Map() };

export function applyEntry(inventory: Inventory, entry: InventoryEntry): Inventory {
  switch (entry.kind) {
    case "address-set": {
      const addresses = new Map(inventory.addresses).set(entry.record.address, entry.record);
      return { ...inventory, addresses };
    }
    case "address-removed": {
      const addresses = new Map(inventory.addresses);
      addresses.delete(entry.address);
      const retiredGenerations = new Map(inventory.retiredGenerations).set(entry.address, entry.generation);
      return { ...inventory, addresses, retiredGenerations };
    }
    case "node-set":
      return { ...inventory, nodes: new Map(inventory.nodes).set(entry.record.name, entry.record) };
    case "node-removed": {
      const nodes = new Map(inventory.nodes);
      nodes.delete(entry.name);
      return { ...inventory, nodes };
    }
    default:
      return entry satisfies never;
  }
}

/** What an entry is about: a later entry with the same subject makes an earlier one needless. */
export function subjectOf(entry: InventoryEntry): string {
  switch (entry.kind) {
    case "address-set":
      return `address ${entry.record.address}`;
    case "address-removed":
      return `address ${entry.address}`;
    case "node-set":
      return `node ${entry.record.name}`;
    case "node-removed":
      return `node ${entry.name}`;
    default:
      return entry satisfies never;
  }
}

export interface AddressWish {
  readonly address: IpAddress;
  readonly instance: string;
  readonly private?: IpAddress;
}

/** Where a new address would be mapped, or why it can't be. */
export function planAddress(
  inventory: Inventory,
  wish: AddressWish,
  reserved: readonly Reservation[],
  publicPrefixes: readonly Prefix[],
): Outcome<AddressRecord> {
  const known = inventory.addresses.get(wish.address);
  if (known !== undefined)
    return refuse("ADDRESS_EXISTS", `${wish.address} is mapped to ${known.instance} already: use baton remap`);
  if (!publicPrefixes.some((prefix) => prefixContains(prefix, wish.address)))
    return refuse("INVALID_ARGUMENT", `address ${wish.address} lies in none of the gateways' public prefixes`);
  const instance = inventory.nodes.get(wish.instance);
  if (instance?.kind !== "agent") return unknownInstance(inventory, wish.instance);
  const chosen = choosePrivate(instance, wish.address, reserved, wish.private);
  if (!chosen.ok) return chosen;
  const generation = (inventory.retiredGenerations.get(wish.address) ?? 0n) + 1n;
  return { ok: true, value: { address: wish.address, instance: wish.instance, private: chosen.value, generation } };
}

/**
 * The private address at an instance for a public one. Where the public address has a reservation there already, old
 * flows of it may live on that one, so it is the only choice; else the first free one.
 */
export function choosePrivate(
  instance: NodeRecord,
  address: IpAddress,
  reserved: readonly Reservation[],
  wanted?: IpAddress,
): Outcome<IpAddress> {
  const here = reserved.filter((reservation) => reservation.instance === instance.name);
  if (wanted !== undefined) {
    if (!instance.privateAddresses.includes(wanted)) {
      const offers = instance.privateAddresses.join(", ") || "none";
      return refuse("UNKNOWN_PRIVATE", `${instance.name} has no private address ${wanted}; it offers ${offers}`);
    }
    const user = here.find((reservation) => reservation.private === wanted && reservation.address !== address);
    if (user !== undefined)
      return refuse("PRIVATE_IN_USE", `${wanted} at ${instance.name} is in use by ${user.address}: choose another`);
    return { ok: true, value: wanted };
  }
  const earlier = here.find((reservation) => reservation.address === address);
  if (earlier !== undefined) return { ok: true, value: earlier.private };
  const free = instance.privateAddresses.find(
    (candidate) =>
      familyOf(candidate) === familyOf(address) && !here.some((reservation) => reservation.private === candidate),
  );
  if (free !== undefined) return { ok: true, value: free };
  const users =
    here.map((reservation) => `${reservation.private} by ${reservation.address}`).join(", ") || "none of its own";
  return refuse(
    "NO_FREE_PRIVATE",
    `${instance.name} has no free private address for ${address} (in use: ${users}): give its agent another one, or wait until a drain ends`,
  );
}

export function unknownInstance<T>(inventory: Inventory, name: string): Outcome<T> {
  const names = [...inventory.nodes.values()].filter((node) => node.kind === "agent").map((node) => node.name);
  const known = names.sort().join(", ") || "none";
  return refuse("UNKNOWN_INSTANCE", `no agent named ${name} has ever connected; known: ${known}`);
}

export function unknownAddress<T>(inventory: Inventory, address: IpAddress): Outcome<T> {
  const known = inventory.addresses.size;
  return refuse("UNKNOWN_ADDRESS", `${address} is not mapped (${known} addresses are): baton addresses add it first`);
}

export function refuse<T>(code: BatonError["code"], message: string): Outcome<T> {
  return { ok: false, refusal: { code, message } };
}
