/** A tracker in a process of its own, for tests that kill it: `node tracker.process.ts CONFIG`. */
import { run } from "../../services/tracker/main.ts";
import { runService } from "../../src/runtime/lifetime.ts";

const [configFile = ""] = process.argv.slice(2);
runService("tracker", (signal) => run({ configFile, printConfig: false, signal }));
