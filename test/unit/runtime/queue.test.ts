import { describe, expect, it } from "vitest";
import { BoundedQueue } from "../../../src/runtime/queue.ts";

const never = new AbortController().signal;

describe("a bounded queue", () => {
  it("gives items in order, also those pushed while its consumer waits", async () => {
    const queue = new BoundedQueue<number>(10);
    queue.push(1);
    const items = queue.items(never);
    expect((await items.next()).value).toBe(1);
    const waiting = items.next();
    queue.push(2);
    queue.push(3);
    expect((await waiting).value).toBe(2);
    queue.close();
    expect((await items.next()).value).toBe(3);
    expect((await items.next()).done).toBe(true);
  });

  it("refuses when it is full, and takes again once something was taken", async () => {
    const queue = new BoundedQueue<string>(2);
    expect([queue.push("a"), queue.push("b"), queue.push("c")]).toEqual([true, true, false]);
    const items = queue.items(never);
    await items.next();
    expect(queue.size).toBe(1);
    expect(queue.push("d")).toBe(true);
    expect(await queue.takeAll(never)).toEqual(["b", "d"]);
    expect(queue.size).toBe(0);
  });

  it("keeps order and count over many pushes and takes", async () => {
    const queue = new BoundedQueue<number>(7);
    const items = queue.items(never);
    const seen: number[] = [];
    let next = 0;
    for (let round = 0; round < 50; round++) {
      while (queue.push(next)) next++;
      for (let taken = 0; taken <= round % 7; taken++) seen.push((await items.next()).value ?? Number.NaN);
    }
    expect(seen).toEqual(seen.map((_, index) => index));
    expect(queue.size).toBe(next - seen.length);
  });

  it("takes nothing more once closed", async () => {
    const queue = new BoundedQueue<number>(2);
    queue.push(1);
    queue.close();
    expect(queue.push(2)).toBe(false);
    expect(await queue.takeAll(never)).toEqual([1]);
    expect(await queue.takeAll(never)).toEqual([]);
  });

  it("ends a waiting consumer with the abort reason, and serves the next one", async () => {
    const queue = new BoundedQueue<number>(2);
    const controller = new AbortController();
    const waiting = queue.takeAll(controller.signal);
    controller.abort("stop");
    await expect(waiting).rejects.toBe("stop");
    queue.push(1);
    expect(await queue.takeAll(never)).toEqual([1]);
  });

  it("refuses a second consumer while one waits", async () => {
    const queue = new BoundedQueue<number>(2);
    const first = queue.takeAll(never);
    await expect(queue.takeAll(never)).rejects.toThrow("one consumer");
    queue.close();
    expect(await first).toEqual([]);
  });

  it("has room for at least one", () => {
    expect(() => new BoundedQueue(0)).toThrow(RangeError);
  });
});
