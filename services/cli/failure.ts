/** What a failed command says, and which exit code it ends with. The only place where exceptions end. */
import type { CallFailed } from "../../src/rpc/failover.ts";
import { type ExitCode, exitCodeOf, exitCodes } from "./exit-code.ts";

export interface Failure {
  readonly exitCode: ExitCode;
  /** For standard error. */
  readonly lines: readonly string[];
}

/** A command can't go on, for a reason that is not the cluster's. */
export class CommandFailed extends Error {
  readonly exitCode: ExitCode;
  readonly next: string | undefined;

  constructor(exitCode: ExitCode, message: string, next?: string) {
    super(message);
    this.exitCode = exitCode;
    this.next = next;
  }
}

export function explainFailure(error: unknown): Failure {
  if (error instanceof CommandFailed) return failure(error.exitCode, error.message, error.next);
  if (isCallFailed(error)) return explainCall(error);
  return failure(exitCodes.failed, error instanceof Error ? error.message : String(error));
}

function explainCall({ received, unreachable }: CallFailed): Failure {
  if (unreachable)
    return failure(exitCodes.unreachable, received.message, received.code === "NOT_LEADER" ? leaderless : noAnswer);
  if (!received.stated) return failure(exitCodes.failed, `the coordinator failed: ${received.message}`);
  const exitCode = exitCodeOf[received.code];
  const verb = exitCode === exitCodes.refused ? "refused" : "failed";
  return failure(exitCode, `${verb} (${received.code}): ${received.message}`);
}

const noAnswer = "check that a coordinator runs there, or name others with --endpoint or BATON_ENDPOINT";
const leaderless = "check that the coordinators reach NATS (each one's /readyz tells), then ask again";

/** By shape: importing the class would load all of gRPC for commands that never call. */
function isCallFailed(error: unknown): error is CallFailed {
  return error instanceof Error && "received" in error && "unreachable" in error;
}

function failure(exitCode: ExitCode, message: string, next?: string): Failure {
  return { exitCode, lines: [`baton: ${message}`, ...(next === undefined ? [] : [`next: ${next}`])] };
}
