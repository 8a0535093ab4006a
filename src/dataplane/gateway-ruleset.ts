/**
 * The gateway's nftables table: stateless translation between public and private addresses.
 *
 * What stands in the kernel is a {@link GatewayTable}: rules, which seldom change, and three tables of addresses, which
 * every remap changes by one element. {@link renderTable} writes all of it whatever was there before,
 * {@link renderChange} only what differs, so that a flip costs the same with one mapping and with ten thousand. Both
 * are one transaction, and neither replaces a base chain: between an old and a new chain at the same hook a packet could
 * be translated by the one and then judged, already translated, by the other.
 */
import { familyOf, formatPrefix, type IpAddress, type Prefix } from "../flow/address.ts";
import type { GatewayState } from "../node/state.ts";
import { logGroups, tableName } from "./names.ts";
import { proofSnapBytes } from "./proof.ts";

/** Elements of each translation table. */
export const mappingsMax = 65_536;
/** Accepts that may be on their way out at a time. */
export const retiringMax = 1_024;

/** Proof packets that are looked at, a second; a flood of forged ones must not fill the log socket. */
const proofsPerSecond = 2_000;
const proofsBurst = 500;

/** What of the host the rules depend on. */
export interface GatewayDevices {
  readonly publicDevice: string;
  readonly fabricDevice: string;
  /** Of these two, those for which baton alone has turned forwarding on: nothing but its own packets may pass. */
  readonly guardedDevices: readonly string[];
}

export interface GatewayTable {
  /** Commands that write all chains, one a line. */
  readonly rules: string;
  /** Public address → private address, for packets from the public side. */
  readonly toPrivate: ReadonlyMap<IpAddress, IpAddress>;
  /** Private address → public address, for packets towards the public side. */
  readonly toPublic: ReadonlyMap<IpAddress, IpAddress>;
  /** Private addresses whose packets are counted, because their translation is to go. */
  readonly retiring: ReadonlySet<IpAddress>;
}

/** What each counter of the table means, for operators. */
export const gatewayCounters = {
  translated_in: "packets translated towards the fabric",
  translated_out: "packets translated towards the public side",
  dropped_spoofed: "packets from the public side with a source that only the fabric has",
  dropped_unmapped: "packets to a public address without a mapping",
  dropped_bypass: "packets from the public side to a private address",
  dropped_leak: "packets from a private address without a mapping, kept from the public side",
  dropped_closed: "packets that came before the gateway had its state",
  dropped_foreign: "packets that this host would not forward without baton",
  proofs_returned: "proof packets that came back",
} as const;
export type GatewayCounter = keyof typeof gatewayCounters;

/**
 * The table of a state. `gone` are retiring Accepts that the gateway has removed already.
 * IPv4 only: entries of the other family are left out; gateway-check.ts is where that becomes a fault.
 */
export function gatewayTable(devices: GatewayDevices, state: GatewayState, gone: ReadonlySet<IpAddress>): GatewayTable {
  const mappings = state.mappings.filter((mapping) => familyOf(mapping.address) === 4);
  const accepts = state.accepts.filter(
    (accept) => familyOf(accept.private) === 4 && !(accept.retiring && gone.has(accept.private)),
  );
  return {
    rules: renderRules(devices, { open: true, ...state }),
    toPrivate: new Map(mappings.map((mapping) => [mapping.address, mapping.private])),
    toPublic: new Map([...accepts, ...mappings].map((entry) => [entry.private, entry.address])),
    retiring: new Set(accepts.filter((accept) => accept.retiring).map((accept) => accept.private)),
  };
}

/** The table of a gateway that does not know its state: nothing passes between its devices. */
export function closedTable(devices: GatewayDevices, publicPrefixes: readonly Prefix[]): GatewayTable {
  const rules = renderRules(devices, { open: false, fabric: [], publicPrefixes, probeSource: undefined });
  return { rules, toPrivate: new Map(), toPublic: new Map(), retiring: new Set() };
}

/** One transaction that makes the kernel hold `table`, whatever it held before. */
export function renderTable(table: GatewayTable): string {
  return [
    definitions,
    table.rules,
    `flush map ${tableName} to_private`,
    `flush map ${tableName} to_public`,
    `flush set ${tableName} retiring`,
    ...addElements("to_private", pairs(table.toPrivate)),
    ...addElements("to_public", pairs(table.toPublic)),
    ...addElements("retiring", [...table.retiring]),
    "",
  ].join("\n");
}

/** One transaction that leads from `previous` to `next`; empty where they are the same. */
export function renderChange(previous: GatewayTable, next: GatewayTable): string {
  const lines = [
    ...(previous.rules === next.rules ? [] : [next.rules]),
    ...changeMap("to_private", previous.toPrivate, next.toPrivate),
    ...changeMap("to_public", previous.toPublic, next.toPublic),
    ...deleteElements(
      "retiring",
      [...previous.retiring].filter((address) => !next.retiring.has(address)),
    ),
    ...addElements(
      "retiring",
      [...next.retiring].filter((address) => !previous.retiring.has(address)),
    ),
  ];
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

/** Removes all that is the gateway's. `add` first, for deleting what is not there would fail. */
export const removeTable = `add table ${tableName}\ndelete table ${tableName}\n`;

const chains = ["prerouting", "from_public", "from_fabric", "forward", "postrouting", "to_public_side"] as const;

/** `postrouting` runs after the host's own source NAT, so it judges the source that really leaves. */
const definitions = [
  `add table ${tableName}`,
  `add map ${tableName} to_private { type ipv4_addr : ipv4_addr; size ${mappingsMax}; }`,
  `add map ${tableName} to_public { type ipv4_addr : ipv4_addr; size ${mappingsMax}; }`,
  `add set ${tableName} retiring { type ipv4_addr; size ${retiringMax}; counter; }`,
  ...Object.keys(gatewayCounters).map((name) => `add counter ${tableName} ${name}`),
  `add chain ${tableName} prerouting { type filter hook prerouting priority raw; policy accept; }`,
  `add chain ${tableName} from_public`,
  `add chain ${tableName} from_fabric`,
  `add chain ${tableName} forward { type filter hook forward priority filter; policy accept; }`,
  `add chain ${tableName} postrouting { type filter hook postrouting priority srcnat + 100; policy accept; }`,
  `add chain ${tableName} to_public_side`,
].join("\n");

type RuleInput = { readonly open: boolean; readonly probeSource: IpAddress | undefined } & Pick<
  GatewayState,
  "fabric" | "publicPrefixes"
>;

function renderRules(devices: GatewayDevices, input: RuleInput): string {
  const fabric = input.fabric.filter(isIpv4).map(formatPrefix);
  const publicPrefixes = input.publicPrefixes.filter(isIpv4).map(formatPrefix);
  const probe = input.probeSource !== undefined && familyOf(input.probeSource) === 4 ? input.probeSource : undefined;
  const inside = probe === undefined ? fabric : [...fabric, probe];
  const rules: Record<(typeof chains)[number], readonly string[]> = {
    prerouting: [
      `iifname "${devices.publicDevice}" goto from_public`,
      `iifname "${devices.fabricDevice}" goto from_fabric`,
    ],
    from_public: [
      ...when(inside, (set) => `ip saddr ${set} ${drop("dropped_spoofed")}`),
      // A lookup that finds nothing ends the rule, before its other statements.
      "ip daddr set ip daddr map @to_private notrack counter name translated_in accept",
      ...when(publicPrefixes, (set) => `ip daddr ${set} fib daddr type != local ${drop("dropped_unmapped")}`),
      ...when(inside, (set) => `ip daddr ${set} fib daddr type != local ${drop("dropped_bypass")}`),
    ],
    from_fabric: [...(probe === undefined ? [] : proofRules(probe)), "ip saddr @to_public notrack"],
    forward: input.open ? guardRules(devices, fabric) : closedRules(devices),
    postrouting: [`oifname "${devices.publicDevice}" goto to_public_side`],
    to_public_side: [
      "ip saddr @retiring",
      "ip saddr set ip saddr map @to_public counter name translated_out accept",
      ...when(inside, (set) => `ip saddr ${set} ${drop("dropped_leak")}`),
    ],
  };
  return chains
    .flatMap((chain) => [
      `flush chain ${tableName} ${chain}`,
      ...rules[chain].map((rule) => `add rule ${tableName} ${chain} ${rule}`),
    ])
    .join("\n");
}

function proofRules(probe: IpAddress): readonly string[] {
  const limit = `limit rate ${proofsPerSecond}/second burst ${proofsBurst} packets`;
  return [
    `ip daddr ${probe} ${limit} log group ${logGroups.proofAtGateway} snaplen ${proofSnapBytes}`,
    `ip daddr ${probe} ${drop("proofs_returned")}`,
  ];
}

function closedRules(devices: GatewayDevices): readonly string[] {
  return [
    `iifname "${devices.publicDevice}" oifname "${devices.fabricDevice}" ${drop("dropped_closed")}`,
    `iifname "${devices.fabricDevice}" oifname "${devices.publicDevice}" ${drop("dropped_closed")}`,
  ];
}

/** Forwarding was off on these devices before baton came: it must not make a router of the host. */
function guardRules(devices: GatewayDevices, fabric: readonly string[]): readonly string[] {
  return devices.guardedDevices.flatMap((device) => {
    if (device === devices.fabricDevice)
      return [`iifname "${device}" oifname "${devices.publicDevice}" ip saddr @to_public accept`, foreign(device)];
    return [
      ...when(fabric, (set) => `iifname "${device}" oifname "${devices.fabricDevice}" ip daddr ${set} accept`),
      foreign(device),
    ];
  });
}

function foreign(device: string): string {
  return `iifname "${device}" ${drop("dropped_foreign")}`;
}

function changeMap(
  map: string,
  previous: ReadonlyMap<IpAddress, IpAddress>,
  next: ReadonlyMap<IpAddress, IpAddress>,
): readonly string[] {
  // Plain loops: these tables are long, and a flip waits here.
  const gone: IpAddress[] = [];
  const added: [IpAddress, IpAddress][] = [];
  for (const [key, value] of previous) if (next.get(key) !== value) gone.push(key);
  for (const [key, value] of next) if (previous.get(key) !== value) added.push([key, value]);
  return [...deleteElements(map, gone), ...addElements(map, pairs(added))];
}

function addElements(name: string, elements: readonly string[]): readonly string[] {
  return elements.length === 0 ? [] : [`add element ${tableName} ${name} { ${elements.join(", ")} }`];
}

function deleteElements(name: string, elements: readonly string[]): readonly string[] {
  return elements.length === 0 ? [] : [`delete element ${tableName} ${name} { ${elements.join(", ")} }`];
}

function pairs(entries: Iterable<readonly [IpAddress, IpAddress]>): readonly string[] {
  return Array.from(entries, ([key, value]) => `${key} : ${value}`);
}

function drop(counter: GatewayCounter): string {
  return `counter name ${counter} drop`;
}

/** No rule at all for an empty set, which nft can't write. */
function when(entries: readonly string[], rule: (set: string) => string): readonly string[] {
  return entries.length === 0 ? [] : [rule(`{ ${entries.join(", ")} }`)];
}

function isIpv4(prefix: Prefix): boolean {
  return familyOf(prefix.address) === 4;
}
