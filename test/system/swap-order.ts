/** Preloaded into a coordinator (`node --import`): some modules of it get swapped ones for the right ones. */
import { registerHooks } from "node:module";

interface Swap {
  readonly importer: string;
  readonly right: string;
  readonly swapped: string;
}

const at = (path: string) => new URL(path, import.meta.url).href;

const swaps: readonly Swap[] = [
  {
    importer: at("../../src/coordinator/cluster-state.ts"),
    right: at("../../src/remap/projection.ts"),
    swapped: at("swapped-projection.ts"),
  },
  {
    importer: at("../../src/remap/before-flip.ts"),
    right: at("../../src/remap/checklist.ts"),
    swapped: at("swapped-checklist.ts"),
  },
];

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context);
    const swap = swaps.find(({ importer, right }) => importer === context.parentURL && right === resolved.url);
    return swap === undefined ? resolved : { ...resolved, url: swap.swapped };
  },
});
