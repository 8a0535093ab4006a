import { describe, expect, it } from "vitest";
import { isWhole, parseInterval } from "../../bench/iperf.ts";

describe("what iperf3 says of an interval", () => {
  it("is read with its bounds and rate, as sender and as receiver", () => {
    expect(parseInterval("[  5]   0.50-1.00   sec   934 MBytes  15674 Mbits/sec    6    390 KBytes       ")).toEqual({
      from: 0.5,
      to: 1,
      bitsPerSecond: 15_674e6,
    });
    expect(parseInterval("[  5]   3.00-3.50   sec  3.31 MBytes  55.7 Mbits/sec")?.bitsPerSecond).toBeCloseTo(55.7e6);
  });

  it("is told from other lines", () => {
    expect(parseInterval("[ ID] Interval           Transfer     Bitrate         Retr  Cwnd")).toBeUndefined();
    expect(parseInterval("Connecting to host 10.0.0.11, port 5201")).toBeUndefined();
  });

  it("counts only when the process ran all the time", () => {
    const interval = (from: number, to: number) => isWhole({ from, to, bitsPerSecond: 1 });
    expect([interval(6.01, 6.5), interval(3, 6.01), interval(9, 9.01)]).toEqual([true, false, false]);
  });
});
