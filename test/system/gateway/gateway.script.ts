/** Runs the real gateway service. Arguments: its configuration file, and "cleanup" to clean up. */

import { run } from "../../../services/gateway/main.ts";
import { runService } from "../../../src/runtime/lifetime.ts";

const [configFile = "", mode] = process.argv.slice(2);
runService("gateway", (signal) => run({ configFile, printConfig: false, cleanup: mode === "cleanup", signal }));
