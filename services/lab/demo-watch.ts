/**
 * What the client's own kernel counts at its card: packets that must never arrive there.
 * A table of the demo's and the tests', in the client's namespace, where nothing of baton runs.
 */
import { runCommand, tryCommand } from "./command.ts";

export interface CardCounts {
  /** Packets with a source in the fabric. */
  readonly privateSource: number;
  /**
   * TCP segments with RST, but for connections that both ends had closed already: there any kernel answers so to an
   * acknowledgement that has been overtaken by the last one, and nobody notices.
   */
  readonly resets: number;
}

const table = "inet watch";

export async function startCardWatch(namespace: string, fabric: string): Promise<void> {
  const ruleset = [
    `table ${table} {`,
    "  counter private_source { }",
    "  counter resets { }",
    ...["own_fins", "peer_fins"].flatMap((set) => [
      `  set ${set} {`,
      "    typeof ip saddr . tcp sport . tcp dport",
      "    flags dynamic, timeout",
      "    timeout 2m",
      "    size 65536",
      "  }",
    ]),
    "  chain departures {",
    "    type filter hook output priority raw; policy accept;",
    "    tcp flags & syn == syn delete @own_fins { ip daddr . tcp dport . tcp sport }",
    "    tcp flags & syn == syn delete @peer_fins { ip daddr . tcp dport . tcp sport }",
    "    tcp flags & fin == fin update @own_fins { ip daddr . tcp dport . tcp sport }",
    "  }",
    "  chain arrivals {",
    "    type filter hook prerouting priority raw; policy accept;",
    `    ip saddr ${fabric} counter name private_source`,
    "    tcp flags & fin == fin update @peer_fins { ip saddr . tcp sport . tcp dport }",
    "    tcp flags & rst == rst ip saddr . tcp sport . tcp dport @own_fins ip saddr . tcp sport . tcp dport @peer_fins accept",
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
