/** All that baton changes in a host's kernel, as text that can be compared. */
import type { LabFixture } from "./lab-fixture.ts";

export interface KernelState {
  readonly nftables: string;
  readonly rules: string;
  readonly routes: string;
  readonly links: string;
  readonly sysctls: string;
}

/** They change by themselves. */
const livelySysctls = /nf_conntrack_count|\/stable_secret|\/fib_notify_on_flag_change|tcp_fastopen_key/;

export async function kernelState(fixture: LabFixture, host: string): Promise<KernelState> {
  const sh = (script: string) => fixture.exec(host, "sh", "-c", script);
  return {
    nftables: withoutCounts(await sh("nft -s list ruleset")),
    rules: await sh("ip rule; ip -6 rule"),
    routes: sorted(await sh("ip route show table all; ip -6 route show table all")),
    links: await sh("ip -o -d link show"),
    sysctls: (await sh("grep -rs . /proc/sys/net || true"))
      .split("\n")
      .filter((line) => !livelySysctls.test(line))
      .sort()
      .join("\n"),
  };
}

/** The fence in the comment tells the state's number, which grows with every remap. */
function withoutCounts(ruleset: string): string {
  return ruleset
    .replaceAll(/comment "[^"]*"/g, 'comment "…"')
    .replaceAll(/packets \d+ bytes \d+/g, "")
    .replaceAll(/ ?expires \S+/g, "");
}

function sorted(text: string): string {
  return text
    .split("\n")
    .map((line) => line.replace(/expires \S+/, "").trimEnd())
    .sort()
    .join("\n");
}

/** Entries in all sets of baton's table, by the set's name. */
export async function setEntries(fixture: LabFixture, host: string): Promise<Map<string, number>> {
  const listed = JSON.parse(await fixture.exec(host, "nft", "-j", "list", "table", "inet", "baton")) as {
    nftables: { set?: { name: string; elem?: unknown[] } }[];
  };
  const sets = listed.nftables.flatMap((entry) => (entry.set === undefined ? [] : [entry.set]));
  return new Map(sets.map((set) => [set.name, set.elem?.length ?? 0]));
}

export async function trackedConnections(fixture: LabFixture, host: string): Promise<number> {
  return Number(await fixture.exec(host, "cat", "/proc/sys/net/netfilter/nf_conntrack_count"));
}
