/** Preloaded into an agent (`node --import`): it gets rules that learn nothing and follow nothing by default. */
import { registerHooks } from "node:module";

const at = (path: string) => new URL(path, import.meta.url).href;
const importer = at("../../../src/dataplane/agent-ruleset.ts");
const right = at("../../../src/dataplane/holder-rules.ts");
const swapped = at("swapped-holder-rules.ts");

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context);
    return importer === context.parentURL && right === resolved.url ? { ...resolved, url: swapped } : resolved;
  },
});
