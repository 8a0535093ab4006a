/** Preloaded into a coordinator (`node --import`): every module but the swapped projection gets the swapped one. */
import { registerHooks } from "node:module";

const swapped = new URL("swapped-projection.ts", import.meta.url).href;
const right = new URL("../../src/remap/projection.ts", import.meta.url).href;

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context);
    return resolved.url === right && context.parentURL !== swapped ? { ...resolved, url: swapped } : resolved;
  },
});
