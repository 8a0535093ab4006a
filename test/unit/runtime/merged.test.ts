import { describe, expect, test } from "vitest";
import { merged } from "../../../src/runtime/merged.ts";

async function* from<T>(...items: readonly T[]): AsyncGenerator<T, void, undefined> {
  yield* items;
}

/** Gives nothing until it is released, and then fails if it is to. */
function silent<T>(): {
  readonly part: AsyncGenerator<T, void, undefined>;
  fail(error: Error): void;
  give(item: T): void;
} {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  async function* wait(): AsyncGenerator<T, void, undefined> {
    yield await promise;
    await new Promise(() => undefined);
  }
  return { part: wait(), fail: reject, give: resolve };
}

describe("sources read as one", () => {
  test("give what each has in its own order, and wait for none that is silent", async () => {
    const late = silent<string>();
    const read: string[] = [];
    async function* endless(): AsyncGenerator<string, void, undefined> {
      for (let n = 0; ; n++) yield `a${n}`;
    }
    for await (const item of merged([endless(), late.part])) {
      read.push(item);
      if (read.length === 3) late.give("b");
      if (item === "b") break;
    }
    expect(read.filter((item) => item !== "b")).toEqual(read.slice(0, -1).map((_, n) => `a${n}`));
  });

  test("end with the first that ends", async () => {
    const never = silent<number>();
    const read: number[] = [];
    for await (const item of merged([from(1, 2), never.part])) read.push(item);
    expect(read).toEqual([1, 2]);
  });

  test("fail with the first that fails", async () => {
    const failing = silent<number>();
    const reading = merged([failing.part, silent<number>().part]).next();
    failing.fail(new Error("broken"));
    await expect(reading).rejects.toThrow("broken");
  });
});
