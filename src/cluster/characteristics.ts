/** What a host can do, as far as placement goes by it; told once, at the start. */
import { availableParallelism, totalmem } from "node:os";

const bytesPerMiB = 1_048_576;

export interface Characteristics {
  /** Processors that this process may use. */
  readonly cpus: number;
  /** Of the host, or of the control group that bounds this process. */
  readonly memoryMiB: number;
}

export function characteristics(): Characteristics {
  const bounded = process.constrainedMemory();
  const total = totalmem();
  // Without a bound the kernel's answer is zero, or larger than any memory.
  const memory = bounded > 0 && bounded < total ? bounded : total;
  return { cpus: availableParallelism(), memoryMiB: Math.floor(memory / bytesPerMiB) };
}
