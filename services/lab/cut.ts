/** Which pairs of hosts get no packets to each other, as a ruleset for the fabric's bridges. Pure. */
import type { Host } from "./plan.ts";

/** Names of two hosts, in alphabetical order. */
export type Cut = readonly [string, string];

export const cutTable = "baton_lab";

export function cutBetween(a: string, b: string): Cut {
  return a < b ? [a, b] : [b, a];
}

export function withCut(cuts: readonly Cut[], cut: Cut): readonly Cut[] {
  return [...withoutCut(cuts, cut), cut].sort((a, b) => (a.join(" ") < b.join(" ") ? -1 : 1));
}

export function withoutCut(cuts: readonly Cut[], cut: Cut): readonly Cut[] {
  return cuts.filter(([a, b]) => a !== cut[0] || b !== cut[1]);
}

/** Only neighbours can be cut apart: between others, packets pass through hosts that change their addresses. */
export function areNeighbours(a: Host, b: Host): boolean {
  return portPairs(a, b).length > 0;
}

/** The whole ruleset, whatever was there before. `hosts` finds a host by name. */
export function cutRuleset(cuts: readonly Cut[], hosts: (name: string) => Host | undefined): string {
  const rules = cuts.flatMap(([nameA, nameB]) => {
    const [a, b] = [hosts(nameA), hosts(nameB)];
    if (a === undefined || b === undefined) return [];
    return portPairs(a, b).flatMap(([one, other]) => [dropRule(one, other), dropRule(other, one)]);
  });
  return [
    `table bridge ${cutTable} {}`,
    `delete table bridge ${cutTable}`,
    `table bridge ${cutTable} {`,
    "  chain forward {",
    "    type filter hook forward priority 0; policy accept;",
    ...rules.map((rule) => `    ${rule}`),
    "  }",
    "}",
    "",
  ].join("\n");
}

function dropRule(from: string, to: string): string {
  return `iifname "${from}" oifname "${to}" counter drop`;
}

function portPairs(a: Host, b: Host): readonly (readonly [string, string])[] {
  if (a.name === b.name) return [];
  return a.cables.flatMap((cable) =>
    b.cables.filter((other) => other.network === cable.network).map((other) => [cable.port, other.port] as const),
  );
}
