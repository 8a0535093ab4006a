/** How long a switch has made flows silent, from samples of the kernel's ages (SPEC R10). */
import { describe, expect, test } from "vitest";
import { SilenceMeter } from "../../../src/flow/silence.ts";

const sampleMs = 10;
const armedMs = 300;
const switchedMs = 340;
const endMs = 2_000;

/** Arrivals of each flow, ms; samples every 10 ms give ages. */
function measure(flows: readonly (readonly number[])[]): SilenceMeter {
  const meter = new SilenceMeter();
  for (let now = 0; now <= endMs; now += sampleMs) {
    if (now === armedMs) meter.arm(now);
    if (now === switchedMs) meter.switched(now);
    const samples = flows.flatMap((arrivals, flow) => {
      const last = arrivals.filter((at) => at <= now).at(-1);
      return last === undefined ? [] : [{ flow: BigInt(flow), idleMs: now - last }];
    });
    meter.note(samples, now);
  }
  return meter;
}

function every(ms: number, from = 0, to = endMs): number[] {
  return Array.from({ length: Math.floor((to - from) / ms) + 1 }, (_, i) => from + i * ms);
}

describe("the silence around a switch", () => {
  test("is none where a flow goes on in its rhythm, fast or slow", () => {
    expect(measure([every(20), every(200)]).longestMs).toBe(0);
  });

  test("is what is longer than a flow's own rhythm", () => {
    const flow = [...every(20, 0, 320), ...every(20, 400)];
    expect(measure([every(20), flow]).longestMs).toBe(80 - sampleMs - 10);
  });

  test("is as long as it has lasted where a flow has stalled", () => {
    const meter = measure([every(20, 0, 320)]);
    expect(meter.longestMs).toBe(endMs - 320 - 10);
    expect(meter.complete).toBe(false);
  });

  test("is not that of a pause that begins when all is settled", () => {
    expect(measure([every(20, 0, 600)]).longestMs).toBe(0);
  });

  test("is not known of flows that were idle before, or whose rhythm was not seen", () => {
    expect(measure([[0], every(900, 100), []]).longestMs).toBeUndefined();
    expect(measure([]).longestMs).toBeUndefined();
  });

  test("leaves out flows that began during the switch", () => {
    expect(measure([every(20, 330, 360)]).longestMs).toBeUndefined();
  });
});
