import { describe, expect, it } from "vitest";
import { checkOptions, defaultOptions } from "../../../services/lab/options.ts";

describe("options of a lab", () => {
  it("are those that the documentation names", () => {
    expect(checkOptions(defaultOptions)).toEqual({
      ok: true,
      options: {
        name: "baton",
        instances: 3,
        gateways: 1,
        trackers: 3,
        coordinators: 1,
        clients: 1,
        nats: 1,
        hosting: 0,
        mtu: 1500,
        clientMtu: 1500,
      },
    });
  });

  it.each([
    [{ instances: 1 }, "--instances 1: expected a whole number from 2 to 9"],
    [{ trackers: Number.NaN }, "--trackers NaN: expected a whole number from 1 to 9"],
    [{ clientMtu: 600 }, "--client-mtu 600: expected a whole number from 1280 to 9000"],
  ])("are refused out of bounds: %o", (change, message) => {
    expect(checkOptions({ ...defaultOptions, ...change })).toEqual({ ok: false, message });
  });

  it.each(["", "Lab", "-lab", "lab-", "a/b", "a b", "..", "x".repeat(33)])("refuse the name %o", (name) => {
    expect(checkOptions({ ...defaultOptions, name }).ok).toBe(false);
  });
});
