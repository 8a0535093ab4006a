/** Seeds by name become addresses, again and again: a container or a virtual machine may come back at another one. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { formatMemberAddress } from "../gossip/address.ts";
import type { MemberAddress } from "../gossip/member.ts";
import { parseEndpoint } from "../rpc/endpoint.ts";
import type { Logger } from "../runtime/log.ts";
import { isAbort, sleep } from "../runtime/retry.ts";

/** Names are looked up this often, and sooner while one of them is not found. */
const lookupIntervalMs = 30_000;
const lookupRetryMs = 2_000;
/** Addresses of one name that are used. */
const addressesPerName = 8;

export type Resolve = (host: string) => Promise<readonly string[]>;

export const resolveBySystem: Resolve = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** Seeds that need no look-up. */
export function literalSeeds(seeds: readonly string[]): MemberAddress[] {
  return seeds.flatMap((seed) => {
    const { host, port } = partsOf(seed);
    return isIP(host) === 0 ? [] : [formatMemberAddress(host, port)];
  });
}

export interface SeedWatch {
  readonly seeds: readonly string[];
  readonly resolve: Resolve;
  /** Called with all seeds, whenever they are others than before. */
  readonly onSeeds: (seeds: readonly MemberAddress[]) => void;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Until the signal aborts; at once where all seeds are addresses. */
export async function watchSeeds({ seeds, resolve, onSeeds, log, signal }: SeedWatch): Promise<void> {
  const literal = literalSeeds(seeds);
  const named = seeds.map(partsOf).filter(({ host }) => isIP(host) === 0);
  const found = new Map<string, readonly MemberAddress[]>();
  let told = literal.join(" ");
  try {
    while (named.length > 0) {
      let isComplete = true;
      for (const { host, port } of named) {
        try {
          const addresses = (await resolve(host)).slice(0, addressesPerName);
          found.set(
            `${host}:${port}`,
            addresses.map((address) => formatMemberAddress(address, port)),
          );
        } catch (error) {
          isComplete = false;
          log.warn({ error, seed: `${host}:${port}` }, "a seed of the gossip is not found by its name; trying again");
        }
        signal.throwIfAborted();
      }
      const all = [...new Set([...literal, ...[...found.values()].flat()])];
      if (all.join(" ") !== told) onSeeds(all);
      told = all.join(" ");
      await sleep(isComplete ? lookupIntervalMs : lookupRetryMs, signal);
    }
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
  }
}

function partsOf(seed: string): { readonly host: string; readonly port: number } {
  const endpoint = parseEndpoint(seed);
  if (endpoint?.kind !== "tcp") throw new RangeError(`not host:port: ${seed}`);
  return endpoint;
}
