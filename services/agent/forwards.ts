/** Whose flows this instance forwards, as its state has it. Pure. */
import type { IpAddress } from "../../src/flow/address.ts";
import type { Forward } from "../../src/flow/events.ts";
import type { AgentState } from "../../src/node/state.ts";

/** While opens are held, packets may still reach the owner without this instance. */
export function forwardsByShard(
  state: Pick<AgentState, "addresses">,
  shardsOf: (address: IpAddress) => readonly number[],
): ReadonlyMap<number, readonly Forward[]> {
  const forwards = new Map<number, Forward[]>();
  for (const { address, follows, holdOpens } of state.addresses) {
    if (holdOpens) continue;
    for (const { owner } of follows) {
      for (const shard of shardsOf(address)) forwards.set(shard, [...(forwards.get(shard) ?? []), { address, owner }]);
    }
  }
  return forwards;
}
