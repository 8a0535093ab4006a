/** Long loops in slices, so that whatever else waits for the event loop has its turn in between. */
import { setImmediate as nextTurn } from "node:timers/promises";

export interface SliceOptions {
  /** Of one slice; the one item that ends it comes on top. */
  readonly sliceMs: number;
  /** Items between two looks at the clock. */
  readonly itemsPerLook?: number;
  readonly signal?: AbortSignal;
}

/** Takes items as long as there are any. The iterable must bear that time passes between two of its items. */
export async function eachInSlices<T>(
  items: Iterable<T>,
  visit: (item: T) => void,
  { sliceMs, itemsPerLook = 1, signal }: SliceOptions,
): Promise<void> {
  let untilLook = itemsPerLook;
  let endMs = performance.now() + sliceMs;
  for (const item of items) {
    visit(item);
    untilLook--;
    if (untilLook > 0) continue;
    untilLook = itemsPerLook;
    if (performance.now() < endMs) continue;
    await nextTurn();
    signal?.throwIfAborted();
    endMs = performance.now() + sliceMs;
  }
}
