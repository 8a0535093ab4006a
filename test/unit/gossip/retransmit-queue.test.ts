import { describe, expect, it } from "vitest";
import { RetransmitQueue } from "../../../src/gossip/retransmit-queue.ts";

function take(queue: RetransmitQueue<string>, bytesMax: number, limit = 3, countMax = 100): string[] {
  const out: string[] = [];
  queue.take(bytesMax, countMax, limit, out);
  return out;
}

describe("a queue of what is told a limited number of times", () => {
  it("tells what was told least first, the newest of those before the older", () => {
    const queue = new RetransmitQueue<string>(10);
    queue.put("a", "a", 10);
    queue.put("b", "b", 10);
    expect(take(queue, 10)).toEqual(["b"]);
    queue.put("c", "c", 10);
    expect(take(queue, 30)).toEqual(["c", "a", "b"]);
  });

  it("tells nothing more often than its limit", () => {
    const queue = new RetransmitQueue<string>(10);
    queue.put("a", "a", 10);
    expect([take(queue, 50), take(queue, 50), take(queue, 50), take(queue, 50)]).toEqual([["a"], ["a"], ["a"], []]);
    expect(queue.size).toBe(0);
  });

  it("replaces what it knows of a name by what is newer, and begins to count anew", () => {
    const queue = new RetransmitQueue<string>(10);
    queue.put("a", "old", 10);
    take(queue, 50);
    queue.put("a", "new", 10);
    expect([take(queue, 50), take(queue, 50), take(queue, 50), take(queue, 50)].flat()).toEqual(["new", "new", "new"]);
  });

  it("fills a packet with smaller ones where a large one does not fit", () => {
    const queue = new RetransmitQueue<string>(10);
    queue.put("small", "small", 10);
    queue.put("large", "large", 100);
    expect(take(queue, 50)).toEqual(["small"]);
    expect(take(queue, 100)).toEqual(["large"]);
  });

  it("never holds more than its capacity, and gives up what was told most", () => {
    const queue = new RetransmitQueue<string>(2);
    queue.put("told", "told", 10);
    take(queue, 10);
    queue.put("b", "b", 10);
    queue.put("c", "c", 10);
    expect([queue.size, queue.dropped, queue.has("told")]).toEqual([2, 1, false]);
  });

  it("does not grow by what is replaced all the time", () => {
    const queue = new RetransmitQueue<string>(100);
    for (let index = 0; index < 10_000; index++) queue.put(`name ${index % 50}`, String(index), 10);
    expect(queue.size).toBe(50);
    expect(new Set(take(queue, 100_000)).size).toBe(50);
  });
});
