/**
 * Which followed flows this host has forgotten by a reboot, and what that means for the policy on unknown packets.
 *
 * Until the tracker has said again which flows are the owner's, an unknown packet is most likely one of theirs. As before
 * the switch has settled it goes to the owner, whatever the policy says (invariant O6).
 */
import type { AgentState, Follow } from "../../src/node/state.ts";

export class EmptiedSets {
  readonly #loads: Set<string>;

  /** @param state the last one from before the reboot; undefined: there was none */
  constructor(state?: AgentState) {
    this.#loads = new Set(state?.addresses.flatMap((address) => address.follows.map(({ loadId }) => loadId)));
  }

  /** These are filled again. True: that changes what {@link spare} says. */
  filled(loadIds: readonly string[]): boolean {
    return loadIds.filter((id) => this.#loads.delete(id)).length > 0;
  }

  /** The state as it may be applied now. */
  spare(state: AgentState): AgentState {
    if (this.#loads.size === 0) return state;
    const sparing = (follow: Follow): Follow =>
      this.#loads.has(follow.loadId) ? { ...follow, settled: false } : follow;
    const addresses = state.addresses.map((address) => ({ ...address, follows: address.follows.map(sparing) }));
    return { ...state, addresses };
  }
}
