import { describe, expect, test } from "vitest";
import { checkGatewayState, proofsMax } from "../../../src/dataplane/gateway-check.ts";
import { retiringMax } from "../../../src/dataplane/gateway-ruleset.ts";
import type { GatewayState, ProofRequest } from "../../../src/node/state.ts";
import { after, before, ip, prefix, retiring } from "./gateway-states.ts";

const proof: ProofRequest = { id: "r1/gw1", link: 5, targetPrivate: ip("10.77.0.112"), mtu: 1500 };

function refusalOf(change: Partial<GatewayState>): string | undefined {
  return checkGatewayState({ ...before, ...change }).refusal?.message;
}

describe("a gateway", () => {
  test.each([before, after, retiring])("takes every step of a remap", (state) => {
    expect(checkGatewayState(state)).toEqual({ faults: [] });
  });

  test("refuses two mappings of one public address", () => {
    const [first] = before.mappings;
    if (first === undefined) throw new Error("no mapping");
    expect(refusalOf({ mappings: [first, { ...first, private: ip("10.77.0.50") }] })).toBe(
      "203.0.113.10 is mapped twice",
    );
  });

  test("refuses a private address that would be translated to two public ones", () => {
    const accepts = [{ address: ip("203.0.113.10"), private: ip("10.77.0.12"), retiring: false }];
    expect(refusalOf({ accepts })).toBe("10.77.0.12 would be translated to 203.0.113.11 and to 203.0.113.10");
  });

  test("refuses a mapping across the address families", () => {
    const accepts = [{ address: ip("203.0.113.10"), private: ip("fd77::12"), retiring: false }];
    expect(refusalOf({ accepts })).toBe("203.0.113.10 and fd77::12 are of two families");
  });

  test.each([{ fabric: [prefix("192.0.2.0/24")] }, { publicPrefixes: [prefix("192.0.2.0/24")] }])(
    "refuses a probe source that real traffic may have",
    (change) => {
      expect(refusalOf(change)).toBe("the probe source 192.0.2.1 lies in 192.0.2.0/24");
    },
  );

  test("takes more sources that answer by themselves than translations on their way out", () => {
    const accepts = (retiring: boolean) =>
      Array.from({ length: retiringMax + 1 }, (_, index) => ({
        address: ip("203.0.113.10"),
        private: ip(`10.77.${1 + (index >> 8)}.${index & 0xff}`),
        retiring,
      }));
    expect(refusalOf({ accepts: accepts(false) })).toBeUndefined();
    expect(refusalOf({ accepts: accepts(true) })).toBe("1025 retiring accepts; a gateway takes 1024");
  });

  test("refuses more proofs than it can send", () => {
    const proofs = Array.from({ length: proofsMax + 1 }, (_, index) => ({ ...proof, id: `r${index}` }));
    expect(checkGatewayState({ ...before, proofs }).refusal).toEqual({
      code: "LIMIT_EXCEEDED",
      message: "257 proofs; a gateway takes 256",
    });
  });

  test("leaves out IPv6 addresses and proofs that don't fit, and says so", () => {
    const state: GatewayState = {
      ...before,
      mappings: [...before.mappings, { address: ip("2001:db8:f::10"), private: ip("fd77::11"), generation: 1n }],
      proofs: [proof, { ...proof, id: "small", mtu: 200 }, { ...proof, id: "six", targetPrivate: ip("fd77::12") }],
    };
    expect(checkGatewayState(state).faults).toEqual([
      {
        code: "UNSUPPORTED",
        message: "2001:db8:f::10: this gateway translates IPv4 only",
        address: "2001:db8:f::10",
      },
      { code: "UNSUPPORTED", message: "proof small: a proof of 200 bytes can't be sent; 263 to 65535 can" },
      { code: "UNSUPPORTED", message: "proof six: proofs are sent over IPv4 only" },
    ]);
  });
});
