/**
 * What the client's own kernel counts at its card: packets that must never arrive there.
 * A table of the demo's and the tests', in the client's namespace, where nothing of baton runs.
 */
import { runCommand, tryCommand } from "./command.ts";

export interface CardCounts {
  /** Packets with a source in the fabric. */
  readonly privateSource: number;
  /** TCP segments with RST. */
  readonly resets: number;
}

const table = "inet watch";

export async function startCardWatch(namespace: string, fabric: string): Promise<void> {
  const ruleset = [
    `table ${table} {`,
    "  counter private_source { }",
    "  counter resets { }",
    "  chain arrivals {",
    "    type filter hook prerouting priority raw; policy accept;",
    `    ip saddr ${fabric} counter name private_source`,
    "    tcp flags & rst == rst counter name resets",
    "  }",
    "}",
  ];
  await runCommand("ip", ["netns", "exec", namespace, "nft", ruleset.join("\n")]);
}

export async function readCardWatch(namespace: string): Promise<CardCounts> {
  const { stdout } = await tryCommand("ip", [
    "netns",
    "exec",
    namespace,
    "nft",
    "-j",
    "list",
    "counters",
    "table",
    "inet",
    "watch",
  ]);
  const listed = JSON.parse(stdout) as { nftables: { counter?: { name: string; packets: number } }[] };
  const packets = (name: string): number => {
    const found = listed.nftables.find((entry) => entry.counter?.name === name)?.counter;
    if (found === undefined) throw new Error(`no counter ${name} in ${namespace}`);
    return found.packets;
  };
  return { privateSource: packets("private_source"), resets: packets("resets") };
}
