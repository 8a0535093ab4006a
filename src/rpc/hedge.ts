/** Asking one after the other of those who can answer, without waiting long for any. */
import { sleep } from "../runtime/retry.ts";

export interface HedgeOptions<T> {
  readonly signal: AbortSignal;
  /** How long one may be silent before the next is asked as well. */
  readonly patienceMs: number;
  /** False: wait for a better answer; this one is taken if none comes. */
  readonly isGood?: (answer: T) => boolean;
  /** An answer that came too late to be taken. */
  readonly discard?: (answer: T) => void;
}

/**
 * The first good answer of `attempts`, which start in order: the next one when the one before is silent, fails, or
 * answers badly. The signals of those not taken are aborted. Throws the last error when nobody answers.
 */
export async function hedge<T>(
  attempts: readonly ((signal: AbortSignal) => Promise<T>)[],
  { signal, patienceMs, isGood = () => true, discard }: HedgeOptions<T>,
): Promise<T> {
  signal.throwIfAborted();
  const winner = Promise.withResolvers<T>();
  const controllers = attempts.map(() => new AbortController());
  let second: { readonly answer: T } | undefined;
  let lastError: unknown = new Error("there is nobody to ask");
  let decided = false;

  const run = async (attempt: (signal: AbortSignal) => Promise<T>, index: number): Promise<void> => {
    const own = controllers[index] as AbortController;
    try {
      const answer = await attempt(AbortSignal.any([signal, own.signal]));
      if (decided) discard?.(answer);
      else if (isGood(answer)) {
        decided = true;
        for (const other of controllers) if (other !== own) other.abort();
        winner.resolve(answer);
      } else second ??= { answer };
    } catch (error) {
      lastError = error;
    }
  };

  const running: Promise<void>[] = [];
  for (const [index, attempt] of attempts.entries()) {
    const over = run(attempt, index);
    running.push(over);
    const patience = new AbortController();
    await Promise.race([
      over,
      winner.promise,
      sleep(patienceMs, AbortSignal.any([signal, patience.signal])).catch(() => {}),
    ]);
    patience.abort();
    if (decided || signal.aborted) break;
  }
  const allOver = Promise.all(running).then(() => {
    if (decided) return winner.promise;
    signal.throwIfAborted();
    if (second !== undefined) return second.answer;
    throw lastError;
  });
  return await Promise.race([winner.promise, allOver]);
}
