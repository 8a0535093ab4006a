/**
 * Which rooms may import what: the arrows of ARCHITECTURE.md as a rule. Pure; check.ts gives it the files.
 *
 *   pure      flow, node, placement, inventory, remap, dataplane   decide; touch nothing
 *   world     kernel, bus, rpc, runtime, cluster, tracker,         touch the machine, or speak to others
 *             coordinator, gossip/edge
 *   services  agent, gateway, tracker, coordinator, cli, lab       put both together
 */

export interface SourceFile {
  /** From the repository's root, with slashes: src/flow/flow.ts. */
  readonly path: string;
  readonly text: string;
}

export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

const pureRooms = ["flow", "node", "placement", "inventory", "remap", "dataplane", "gossip"];
const worldRooms = ["kernel", "bus", "rpc", "runtime", "cluster", "tracker", "coordinator"];

/** The sockets and the clock around the pure machine of gossip, which it may not import. */
const gossipEdge = "src/gossip/edge/";

/** Packages that compute and nothing else. */
const purePackages = ["hashring"];

/** Node's modules in pure rooms, by file: these functions parse text and touch nothing. */
const pureExceptions: Readonly<Record<string, readonly string[]>> = { "src/flow/address.ts": ["node:net"] };

const generated = "src/gen/";

/** The traffic of the demo and the tests: clients and servers that know nothing of baton. */
const judge = "test/traffic/";
const importPattern = /(?:^|\n)\s*(?:import|export)\s(?:[^;]*?\sfrom\s)?\s*"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/g;

/** Names that reach a clock or chance without any import. */
const impurePattern =
  /\bnew Date\(\)|\bfetch\(|\b(?:Date\.now|Math\.random|performance\.now|process\.|setTimeout|setInterval)\b/g;

export function findViolations(files: readonly SourceFile[]): readonly Violation[] {
  return files.filter((file) => !file.path.startsWith(generated)).flatMap(violationsOf);
}

function violationsOf(file: SourceFile): readonly Violation[] {
  const imports = [...file.text.matchAll(importPattern)].flatMap((match) => {
    const specifier = match[1] ?? match[2] ?? "";
    const message = importFault(file.path, specifier);
    return message === undefined ? [] : [violation(file, match.index + match[0].indexOf(specifier), message)];
  });
  return isPure(file.path) ? [...imports, ...impureNames(file)] : imports;
}

function importFault(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return packageFault(from, specifier);
  const target = resolve(from, specifier);
  if (from.startsWith(judge))
    return target.startsWith("test/") ? undefined : `${specifier}: who judges baton must import nothing of it`;
  if (from.startsWith("test/")) return undefined;
  if (target.startsWith(generated))
    return from.startsWith("src/rpc/") ? undefined : `${specifier}: only src/rpc may import what is generated`;
  if (target.startsWith("test/")) {
    const isDemo = from.startsWith("services/lab/") && target.startsWith(judge);
    return isDemo ? undefined : `${specifier}: only tests may import tests`;
  }
  const [fromRank, targetRank] = [rankOf(from), rankOf(target)];
  if (fromRank === undefined) return undefined;
  if (targetRank === undefined) return `${specifier}: ${target} is in no room that layers.ts knows`;
  if (targetRank > fromRank) return `${specifier}: ${roomOf(from)} must not depend on ${roomOf(target)}`;
  if (targetRank === serviceRank && roomOf(from) !== roomOf(target) && !mayStartOthers(from))
    return `${specifier}: a service must not depend on another; what both need belongs into src`;
  return undefined;
}

function packageFault(from: string, specifier: string): string | undefined {
  if (!isPure(from) || purePackages.includes(specifier)) return undefined;
  if (pureExceptions[from]?.includes(specifier) === true) return undefined;
  return `${specifier}: ${roomOf(from)} is pure and must not import what touches the world`;
}

function impureNames(file: SourceFile): readonly Violation[] {
  const code = file.text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"/g, (text) =>
    text.replace(/[^\n]/g, " "),
  );
  return [...code.matchAll(impurePattern)].map((match) =>
    violation(file, match.index, `${match[0]}: ${roomOf(file.path)} is pure: time and chance are arguments`),
  );
}

const serviceRank = 2;

/** 0 pure, 1 world, 2 services. */
function rankOf(path: string): number | undefined {
  if (path.startsWith("services/")) return serviceRank;
  const room = path.split("/")[1] ?? "";
  if (!path.startsWith("src/")) return undefined;
  if (path.startsWith(gossipEdge)) return 1;
  if (pureRooms.includes(room)) return 0;
  return worldRooms.includes(room) ? 1 : undefined;
}

/** The command line starts every service. */
function mayStartOthers(from: string): boolean {
  return from.startsWith("services/cli/");
}

function isPure(path: string): boolean {
  return rankOf(path) === 0;
}

function roomOf(path: string): string {
  return path.split("/").slice(0, 2).join("/");
}

function resolve(from: string, specifier: string): string {
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

function violation(file: SourceFile, index: number, message: string): Violation {
  return { path: file.path, line: file.text.slice(0, index).split("\n").length, message };
}
