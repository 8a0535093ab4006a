/** Several sources read as one: each in its own order, whoever has something next. */

type Next<T> =
  | { readonly ok: true; readonly part: AsyncGenerator<T, void, undefined>; readonly result: IteratorResult<T, void> }
  | { readonly ok: false; readonly error: unknown };

/**
 * Until one of them ends or fails; of each at most one item is read ahead. Ends none of them: that is for whoever has begun
 * them. No `Promise.race`, which would hold on to all that was raced against a source that is silent.
 */
export async function* merged<T>(
  parts: readonly AsyncGenerator<T, void, undefined>[],
): AsyncGenerator<T, void, undefined> {
  const ready: Next<T>[] = [];
  let wake = (): void => {};
  const note = (next: Next<T>): void => {
    ready.push(next);
    wake();
  };
  const read = (part: AsyncGenerator<T, void, undefined>): void => {
    part.next().then(
      (result) => note({ ok: true, part, result }),
      (error: unknown) => note({ ok: false, error }),
    );
  };
  for (const part of parts) read(part);
  for (;;) {
    if (ready.length === 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      wake = resolve;
      await promise;
    }
    const next = ready.shift();
    if (next === undefined) continue;
    if (!next.ok) throw next.error;
    if (next.result.done) return;
    read(next.part);
    yield next.result.value;
  }
}
