/** The process of `baton`. What a command needs is loaded when it is needed. */
import { enableCompileCache } from "node:module";

enableCompileCache();

const [{ runProgram }, { createShell }, { processTerminal }, { systemClock }] = await Promise.all([
  import("./program.ts"),
  import("./shell.ts"),
  import("./terminal.ts"),
  import("../../src/runtime/clock.ts"),
]);

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
