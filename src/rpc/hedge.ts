/** Asking one after the other of those who can answer, without waiting long for any. */

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
  const started: AbortController[] = [];
  let second: { readonly answer: T } | undefined;
  let lastError: unknown = new Error("there is nobody to ask");
  let decided = false;

  const run = async (attempt: (signal: AbortSignal) => Promise<T>): Promise<void> => {
    const own = new AbortController();
    started.push(own);
    try {
      // Who is the only one is stopped by nobody else.
      const answer = await attempt(attempts.length === 1 ? signal : AbortSignal.any([signal, own.signal]));
      if (decided) discard?.(answer);
      else if (isGood(answer)) {
        decided = true;
        for (const other of started) if (other !== own) other.abort();
        winner.resolve(answer);
      } else second ??= { answer };
    } catch (error) {
      lastError = error;
    }
  };

  const running: Promise<void>[] = [];
  for (const attempt of attempts) {
    const over = run(attempt);
    running.push(over);
    await silence([over, winner.promise], signal, patienceMs);
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

/** Until one of them is over, for so long at most, or until the signal aborts. Cheap: every call of a client passes here. */
async function silence(others: readonly Promise<unknown>[], signal: AbortSignal, patienceMs: number): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = (): void => resolve();
  const timer = setTimeout(stop, patienceMs);
  signal.addEventListener("abort", stop, { once: true });
  try {
    await Promise.race([...others, promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}
