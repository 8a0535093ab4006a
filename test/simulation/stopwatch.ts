/** The processor time of this process, all threads: how fast a run is must not depend on what else the machine does. */
const microsecondsPerMs = 1000;

export function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / microsecondsPerMs;
}
