/** A service's process, from its first signal handler to its exit code. */
import { createLog, type Logger } from "./log.ts";
import { isAbort } from "./retry.ts";
import { ServiceError } from "./service-error.ts";

/** From the first SIGTERM or SIGINT to a forced exit. */
const graceMs = 10_000;

/**
 * Runs a service until it ends or the process is told to stop. SIGTERM and SIGINT abort the signal; `main` finishes its
 * work and returns the exit code (nothing: 0). A second signal, or more than {@link graceMs}, ends the process at once
 * with 1, and so does an error that nobody expected. A {@link ServiceError} is told on stderr and ends it with its own code.
 */
export function runService(
  service: string,
  // biome-ignore lint/suspicious/noConfusingVoidType: most services have nothing to return.
  main: (signal: AbortSignal) => Promise<number | void>,
): void {
  const log = createLog({ service, name: service });
  const controller = new AbortController();
  const fail = (error: unknown): never => {
    if (error instanceof ServiceError) {
      process.stderr.write(`baton ${service}: ${error.message}\n`);
      process.exit(error.exitCode);
    }
    log.fatal({ error }, "stopped by an error that nobody expected");
    process.exit(1);
  };
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => stop(name, controller, log));
  main(controller.signal).then(
    (code) => process.exit(code ?? 0),
    (error: unknown) => (isAbort(error, controller.signal) ? process.exit(0) : fail(error)),
  );
}

function stop(name: string, controller: AbortController, log: Logger): void {
  if (controller.signal.aborted) {
    log.warn({ signal: name }, "told to stop a second time: leaving at once");
    process.exit(1);
  }
  log.info({ signal: name }, "told to stop");
  setTimeout(() => {
    log.error({ graceMs }, "did not finish in time: leaving");
    process.exit(1);
  }, graceMs).unref();
  controller.abort();
}

/**
 * SIGUSR2: the operator wants this process to give away what others depend on, before he stops it. It goes on; a new start
 * takes it back. For as long as the process lives.
 */
export function onDrainSignal(log: Logger, drain: () => void): void {
  process.on("SIGUSR2", () => {
    log.info("told to give everything away");
    drain();
  });
}
