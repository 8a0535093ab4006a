import { describe, expect, it } from "vitest";
import { backoffBoundMs, isAbort, retry, sleep, waitFor } from "../../../src/runtime/retry.ts";

const quiet = { initialMs: 1, maxMs: 4, onError: () => {} };
const never = new AbortController().signal;

describe("retrying", () => {
  it("goes on until the operation succeeds, and tells of each failure", async () => {
    const failures: number[] = [];
    const result = await retry(
      async (attempt) => {
        if (attempt < 3) throw new Error(`no ${attempt}`);
        return attempt;
      },
      { ...quiet, signal: never, onError: (_error, attempt) => failures.push(attempt) },
    );
    expect(result).toBe(3);
    expect(failures).toEqual([1, 2]);
  });

  it("throws the last error once its attempts are used up", async () => {
    let tries = 0;
    const failing = retry(() => Promise.reject(new Error(`try ${++tries}`)), { ...quiet, signal: never, attempts: 3 });
    await expect(failing).rejects.toThrow("try 3");
  });

  it("ends with the abort reason while it waits", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const failing = retry(() => Promise.reject(new Error("no")), {
      signal: controller.signal,
      initialMs: 60_000,
      maxMs: 60_000,
      random: () => 1,
      onError: () => controller.abort(reason),
    });
    await expect(failing).rejects.toBe(reason);
  });

  it("waits between zero and a bound that doubles up to its limit", async () => {
    expect([1, 2, 3, 4, 5].map((attempt) => backoffBoundMs(attempt, 100, 1_000))).toEqual([100, 200, 400, 800, 1_000]);
    const waits: number[] = [];
    const failing = retry(() => Promise.reject(new Error("no")), {
      signal: never,
      initialMs: 2,
      maxMs: 3,
      random: () => 0.5,
      attempts: 4,
      onError: (_error, _attempt, waitMs) => waits.push(waitMs),
    });
    await expect(failing).rejects.toThrow();
    expect(waits).toEqual([1, 1.5, 1.5]);
  });
});

describe("sleeping", () => {
  it("ends at once with the abort reason", async () => {
    const controller = new AbortController();
    const sleeping = sleep(60_000, controller.signal);
    controller.abort("done");
    await expect(sleeping).rejects.toBe("done");
    await expect(sleep(60_000, controller.signal)).rejects.toBe("done");
  });
});

describe("waiting for a condition", () => {
  it("returns the first answer that is one", async () => {
    const answers = [undefined, 0, "", "here"];
    const options = { signal: never, timeoutMs: 1_000, what: "an answer", intervalMs: 1 };
    expect(await waitFor(() => answers.shift(), options)).toBe("here");
  });

  it("names what it waited for when it gives up", async () => {
    const options = { signal: never, timeoutMs: 5, what: "the moon", intervalMs: 1 };
    await expect(waitFor(() => false, options)).rejects.toThrow("gave up after 5 ms waiting for the moon");
  });
});

describe("an abort that comes back as an error", () => {
  it("is told from a failure", () => {
    const controller = new AbortController();
    const failure = new Error("disk full");
    expect(isAbort(new DOMException("x", "AbortError"), controller.signal)).toBe(false);
    controller.abort(new Error("stop"));
    expect(isAbort(controller.signal.reason, controller.signal)).toBe(true);
    expect(isAbort(new DOMException("x", "AbortError"), controller.signal)).toBe(true);
    expect(isAbort(failure, controller.signal)).toBe(false);
  });
});
