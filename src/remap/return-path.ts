/**
 * By which way the sources of an address answer for their older flows, and what the gateways must keep for it.
 *
 * A source answers in one way for as long as it drains, as the remap wants it that drains it: wherever the address goes
 * meanwhile, a private address that the gateways have let go of is never needed again, and one that is in use stays.
 */
import type { IpAddress } from "../flow/address.ts";
import type { Accept, ReturnPath } from "../node/state.ts";
import { type Chain, hasComeHome, holderOf, structuresOf } from "./chain.ts";
import { stillHolds } from "./phase.ts";
import type { OwnerLink, RemapRecord, RemapState } from "./record.ts";

/** Its source answers the gateways by itself, if its flows are kept at all. */
export function answersDirectly({ policy }: RemapRecord): boolean {
  return policy.follow && policy.returnPath === "direct";
}

/** `state`: the remap whose list the owner is in. */
export function returnPathOf(chain: Chain, state: RemapState, owner: OwnerLink): ReturnPath {
  const drains =
    owner.remap === state.record.id ? state : chain.flipped.find(({ record }) => record.id === owner.remap);
  return drains !== undefined && answersDirectly(drains.record) ? "direct" : "channel";
}

/** What the gateways translate towards the public side besides the address's mapping. */
export function acceptsOf(chain: Chain): Accept[] {
  const { address } = chain.base;
  const mapped = holderOf(chain).private;
  const accepts = new Map<IpAddress, Accept>();
  const wish = (own: IpAddress, retiring: boolean) => {
    if (own === mapped) return;
    const kept = accepts.get(own)?.retiring === false;
    accepts.set(own, { address, private: own, retiring: retiring && !kept });
  };
  for (const { record } of structuresOf(chain)) {
    if (record.phase.kind !== "switching") continue;
    wish(record.sourcePrivate, record.phase.stage === "retire" && !answersDirectly(record));
  }
  for (const { record } of chain.flipped) {
    if (!answersDirectly(record) || !stillHolds(record) || hasComeHome(chain, record.source, record.generation))
      continue;
    wish(record.sourcePrivate, record.phase.kind === "draining" && record.phase.retiring === true);
  }
  if (chain.pending?.record.phase.kind === "arming") wish(chain.pending.record.targetPrivate, false);
  return [...accepts.values()];
}
