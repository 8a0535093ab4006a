import { describe, expect, it } from "vitest";
import { KeptState } from "../../../src/runtime/kept-state.ts";
import { waitFor } from "../../../src/runtime/retry.ts";

const signal = new AbortController().signal;

describe("a state that is kept on the disk", () => {
  it("is written again until the disk takes it, and counts as behind meanwhile", async () => {
    const written: number[] = [];
    const errors: unknown[] = [];
    let room = false;
    const write = async (state: number): Promise<void> => {
      if (!room) throw new Error("ENOSPC");
      written.push(state);
    };
    using kept = new KeptState<number>({ write, onError: (error) => errors.push(error), retryMs: 5 });
    await kept.keep(1);
    await kept.keep(2);
    expect(kept.behind).toBe(true);
    await waitFor(() => errors.length > 3, { signal, timeoutMs: 5_000, what: "more tries" });
    room = true;
    await waitFor(() => !kept.behind, { signal, timeoutMs: 5_000, what: "the disk to have it" });
    expect(written).toEqual([2]);
    await kept.keep(3);
    expect(written).toEqual([2, 3]);
  });
});
