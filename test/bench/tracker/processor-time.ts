/** Processor time, which says what something costs also while the machine has other work. */
import { readFileSync } from "node:fs";

/** Of /proc, on every Linux that Node runs on. */
const ticksPerSecond = 100;
const [userField, systemField] = [11, 12];

/** Of a process and all its threads, in milliseconds, to 10 ms. */
export function processorMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name before it may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[userField]) + Number(fields[systemField])) * 1_000) / ticksPerSecond;
}

/** Of this process and all its threads. */
export function ownProcessorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
