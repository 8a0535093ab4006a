/**
 * What is waited for before the flip, with the order of trap 1: nobody asks whether the gateways accept E_T→P, or
 * whether S still answers by the old way. swap-order.ts puts it in the place of the right one.
 */
import * as right from "../../src/remap/checklist.ts";
import type { RemapState, Wait } from "../../src/remap/record.ts";

export const { acceptRemovalWaits, linkWaits, markPositions, preparingWaits, provenSize, removalWaits } = right;

export function armingWaits(state: RemapState, view: right.View): Wait[] {
  return right.armingWaits(state, view).filter(({ node }) => node === state.record.target);
}
