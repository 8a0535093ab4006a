import { describe, expect, test } from "vitest";
import { hedge } from "../../../src/rpc/hedge.ts";

const signal = AbortSignal.timeout(30_000);
const patienceMs = 10;
const never = (stop: AbortSignal): Promise<never> =>
  new Promise((_, reject) => stop.addEventListener("abort", () => reject(stop.reason)));

describe("hedging", () => {
  test("takes the first one's answer and asks nobody else", async () => {
    let asked = 0;
    const second = async (): Promise<string> => {
      asked++;
      return "second";
    };
    expect(await hedge([async () => "first", second], { signal, patienceMs })).toBe("first");
    expect(asked).toBe(0);
  });

  test("asks the second one when the first is silent, and then stops the first", async () => {
    let stopped = false;
    const silent = (stop: AbortSignal): Promise<string> => {
      stop.addEventListener("abort", () => {
        stopped = true;
      });
      return never(stop);
    };
    expect(await hedge([silent, async () => "second"], { signal, patienceMs })).toBe("second");
    expect(stopped).toBe(true);
  });

  test("asks the second one at once when the first fails", async () => {
    const failing = async (): Promise<string> => {
      throw new Error("down");
    };
    expect(await hedge([failing, async () => "second"], { signal, patienceMs: 60_000 })).toBe("second");
  });

  test("still takes the first one's answer after it has asked the second", async () => {
    const late = Promise.withResolvers<string>();
    const second = (stop: AbortSignal): Promise<string> => {
      late.resolve("first");
      return never(stop);
    };
    expect(await hedge([() => late.promise, second], { signal, patienceMs })).toBe("first");
  });

  test("takes a poor answer only when nobody has a better one", async () => {
    const isGood = (answer: string): boolean => answer !== "unknown";
    const poor = async (): Promise<string> => "unknown";
    expect(await hedge([poor, async () => "known"], { signal, patienceMs, isGood })).toBe("known");
    expect(await hedge([poor, poor], { signal, patienceMs, isGood })).toBe("unknown");
  });

  test("hands back an answer that came too late", async () => {
    const late = Promise.withResolvers<string>();
    const discarded = Promise.withResolvers<string>();
    const options = { signal, patienceMs, discard: discarded.resolve };
    expect(await hedge([() => late.promise, async () => "second"], options)).toBe("second");
    late.resolve("first");
    expect(await discarded.promise).toBe("first");
  });

  test("throws the last error when nobody answers, and the reason when it is aborted", async () => {
    const failing = async (): Promise<string> => {
      throw new Error("down");
    };
    await expect(hedge([failing, failing], { signal, patienceMs })).rejects.toThrow("down");
    await expect(hedge([], { signal, patienceMs })).rejects.toThrow("nobody");
    const stop = new AbortController();
    const waiting = expect(hedge([never], { signal: stop.signal, patienceMs })).rejects.toThrow("enough");
    stop.abort(new Error("enough"));
    await waiting;
  });
});
