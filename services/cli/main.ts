/** The process of `baton`. What a command needs is loaded when it is needed. */
import { systemClock } from "../../src/runtime/clock.ts";
import { runProgram } from "./program.ts";
import { createShell } from "./shell.ts";
import { processTerminal } from "./terminal.ts";

const controller = new AbortController();
const interrupt = (): void => {
  if (controller.signal.aborted) process.exit(130);
  controller.abort();
};
process.on("SIGINT", interrupt);

const shell = createShell(processTerminal(process.env), process.env, systemClock, controller.signal);
const code = await runProgram(shell, process.argv.slice(2), () => process.off("SIGINT", interrupt));
// Leaving with output still on its way into a pipe would cut it off.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((done) => stream.write("", done))));
process.exit(code);
