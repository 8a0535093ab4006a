/** The end of a process that a test has started. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

/** SIGKILL, and resolves when the process is gone; at once for one that has ended already. */
export async function killed(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
