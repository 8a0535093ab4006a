/** What every command is given: the terminal, the environment, the time, and how to reach coordinators. */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Coordinators } from "../../src/rpc/coordinators.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import { type ExitCode, exitCodes } from "./exit-code.ts";
import { CommandFailed } from "./failure.ts";
import type { Terminal } from "./terminal.ts";

export interface Shell {
  readonly terminal: Terminal;
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
  /** Unique to this run: a wish that is sent twice is one wish. */
  readonly idempotencyKey: string;
}

export function createShell(terminal: Terminal, env: NodeJS.ProcessEnv, clock: Clock, signal: AbortSignal): Shell {
  return { terminal, env, clock, signal, idempotencyKey: randomUUID() };
}

export interface CommonOptions {
  readonly json?: true;
  readonly endpoint?: string;
}

/** Loads gRPC only now: `--help` and completion never need it. */
export async function withCoordinators(
  shell: Shell,
  options: CommonOptions,
  body: (coordinators: Coordinators) => Promise<ExitCode>,
): Promise<ExitCode> {
  const [{ Coordinators }, { endpointForms, parseEndpoint }] = await Promise.all([
    import("../../src/rpc/coordinators.ts"),
    import("../../src/rpc/endpoint.ts"),
  ]);
  const endpoints = endpointTexts(shell, options);
  const wrong = endpoints.find((endpoint) => parseEndpoint(endpoint) === undefined);
  if (wrong !== undefined)
    throw new CommandFailed(
      exitCodes.wrongUsage,
      `${JSON.stringify(wrong)} is not an endpoint`,
      `name coordinators as ${endpointForms}, with commas between`,
    );
  if (endpoints.length === 0)
    throw new CommandFailed(
      exitCodes.wrongUsage,
      "no coordinator is named",
      'name one with --endpoint or in BATON_ENDPOINT; for the lab: eval "$(npm run -s lab -- env)"',
    );
  using coordinators = new Coordinators(endpoints, requestedBy(shell.env), shell.signal);
  return await body(coordinators);
}

export function endpointTexts(shell: Shell, options: CommonOptions): string[] {
  const text = options.endpoint ?? shell.env["BATON_ENDPOINT"] ?? "";
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function requestedBy(env: NodeJS.ProcessEnv): string {
  const user = env["SUDO_USER"] ?? env["USER"] ?? `uid ${process.getuid?.() ?? "unknown"}`;
  return `${user}@${hostname()}`;
}
