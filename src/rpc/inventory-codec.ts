/** Addresses, instances and gateways as InventoryService shows them, both ways. */
import type { IpAddress } from "../flow/address.ts";
import type {
  Address as AddressMessage,
  Gateway as GatewayMessage,
  Instance as InstanceMessage,
} from "../gen/baton/v1/inventory.ts";
import { type Decoded, decode, readAddress, readCount, readId, readList, readName, readText } from "./fields.ts";
import { addressesMax, addressesPerDeviceMax } from "./limits.ts";

export interface AddressView {
  readonly address: IpAddress;
  readonly instance: string;
  readonly private: IpAddress;
  readonly generation: bigint;
  /** Remap under way. */
  readonly remap?: string;
}

export interface InstanceView {
  readonly name: string;
  readonly privateAddresses: readonly IpAddress[];
  /** Public addresses mapped to it. */
  readonly addresses: readonly IpAddress[];
  readonly connected: boolean;
  /** Milliseconds since the Unix epoch; absent: never. */
  readonly lastSeenMs?: number;
  readonly version: string;
  /** Why it gets no orders; absent: it does. */
  readonly heldBack?: string;
}

export interface GatewayView {
  readonly name: string;
  readonly connected: boolean;
  readonly lastSeenMs?: number;
  readonly version: string;
  /** It forwards by the newest address table. */
  readonly current: boolean;
  /** Why it gets no orders; absent: it does. */
  readonly heldBack?: string;
}

export function addressToProto(view: AddressView): AddressMessage {
  const { private: privateAddress, remap, ...same } = view;
  return { ...same, privateAddress, remap: remap ?? "" };
}

export function addressFromProto(message: AddressMessage): Decoded<AddressView> {
  return decode(() => ({
    address: readAddress("address", message.address),
    instance: readName("instance", message.instance),
    private: readAddress("private_address", message.privateAddress),
    generation: message.generation,
    ...(message.remap !== "" && { remap: readId("remap", message.remap) }),
  }));
}

export function instanceToProto(view: InstanceView): InstanceMessage {
  return {
    name: view.name,
    privateAddresses: [...view.privateAddresses],
    addresses: [...view.addresses],
    connected: view.connected,
    lastSeenMs: BigInt(view.lastSeenMs ?? 0),
    version: view.version,
    heldBack: view.heldBack ?? "",
  };
}

export function instanceFromProto(message: InstanceMessage): Decoded<InstanceView> {
  return decode(() => ({
    name: readName("name", message.name),
    privateAddresses: readList("private_addresses", message.privateAddresses, addressesPerDeviceMax, (text, field) =>
      readAddress(field, text),
    ),
    addresses: readList("addresses", message.addresses, addressesMax, (text, field) => readAddress(field, text)),
    connected: message.connected,
    ...readLastSeen(message.lastSeenMs),
    version: readText("version", message.version),
    ...readHeldBack(message.heldBack),
  }));
}

export function gatewayToProto(view: GatewayView): GatewayMessage {
  const { name, connected, lastSeenMs, version, current, heldBack } = view;
  return { name, connected, lastSeenMs: BigInt(lastSeenMs ?? 0), version, current, heldBack: heldBack ?? "" };
}

export function gatewayFromProto(message: GatewayMessage): Decoded<GatewayView> {
  return decode(() => ({
    name: readName("name", message.name),
    connected: message.connected,
    ...readLastSeen(message.lastSeenMs),
    version: readText("version", message.version),
    current: message.current,
    ...readHeldBack(message.heldBack),
  }));
}

function readHeldBack(text: string): { readonly heldBack?: string } {
  return text === "" ? {} : { heldBack: readText("held_back", text) };
}

function readLastSeen(ms: bigint): { readonly lastSeenMs?: number } {
  return ms === 0n ? {} : { lastSeenMs: readCount("last_seen_ms", ms) };
}
