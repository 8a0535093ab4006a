/** Transactions of libnftables in this process; prints what came of them. */
import { KernelError } from "../../../src/kernel/kernel-error.ts";
import { NetlinkSocket, netlinkFamily } from "../../../src/kernel/netlink.ts";
import { Nftables, type NftablesObject } from "../../../src/kernel/nftables.ts";
import { streamSetKeys } from "../../../src/kernel/set-elements.ts";

const elements = Array.from(
  { length: 10_000 },
  (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255} . ${1024 + (i % 60_000)}`,
);

using nftables = new Nftables();

function must(commands: string): void {
  const outcome = nftables.run(commands);
  if (!outcome.ok) throw new Error(outcome.message);
}

function objects(command: string, terse = false): readonly NftablesObject[] {
  const listing = nftables.list(command, { terse });
  if (!listing.ok) throw new Error(listing.message);
  return listing.objects;
}

function elementCount(terse = false): number {
  const set = objects("list set inet baton s", terse).find((object) => "set" in object)?.["set"] as {
    elem?: unknown[];
  };
  return set.elem?.length ?? 0;
}

must("table inet baton { set s { type ipv4_addr . inet_service; }; chain c { type filter hook input priority 0; }; }");
const startMs = performance.now();
must(`add element inet baton s { ${elements.join(", ")} }`);
const applyMs = performance.now() - startMs;
const before = JSON.stringify(objects("list ruleset"));
const bad = nftables.run(
  "delete element inet baton s { 10.0.0.0 . 1024 }\nadd rule inet baton c accept\nadd rule inet baton absent accept",
);
const after = JSON.stringify(objects("list ruleset"));
const oneStartMs = performance.now();
must("add element inet baton s { 192.0.2.1 . 80 }");
const oneMs = performance.now() - oneStartMs;

using netlink = new NetlinkSocket(netlinkFamily.netfilter);
const keys = [...streamSetKeys(netlink, "baton", "s")].map((bytes) => Buffer.from(bytes).toString("hex"));
const noSet = (() => {
  try {
    return [...streamSetKeys(netlink, "baton", "absent")].length;
  } catch (error) {
    return error instanceof KernelError ? error.errno : String(error);
  }
})();

console.log(
  JSON.stringify({
    keys: new Set(keys).size,
    lastKey: keys.includes("c000020100500000"),
    noSet,
    applyMs,
    oneMs,
    bad,
    changedByBad: before !== after,
    elements: elementCount(),
    terseElements: elementCount(true),
    syntax: nftables.run("add tabel inet x"),
    absent: nftables.list("list table inet nobody"),
    zeroByte: nftables.run("list tables\0; flush ruleset"),
    plain: nftables.run("list tables"),
  }),
);
