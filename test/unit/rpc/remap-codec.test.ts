import { describe, expect, it } from "vitest";
import { Remap as RemapMessage } from "../../../src/gen/baton/v1/remap.ts";
import { errorCodes } from "../../../src/remap/error.ts";
import { defaultPolicy, type RemapPolicy } from "../../../src/remap/remap.ts";
import {
  policyRequestFromProto,
  policyRequestToProto,
  previewFromProto,
  previewToProto,
  type RemapPreview,
  remapFromProto,
  remapToProto,
} from "../../../src/rpc/remap-codec.ts";
import { abortedRemap, cutRemap, drainingRemap, freshRemap, ip } from "./remap-samples.ts";

const unusual: RemapPolicy = {
  deadlineMs: 0,
  onDeadline: "keep",
  lingerMs: 0,
  unknown: "reset",
  returnPath: "direct",
  channel: "wireguard",
  follow: false,
  offlineSource: true,
};

describe("a remap on the wire", () => {
  it.each([freshRemap, drainingRemap, cutRemap, abortedRemap])("comes back as it was sent ($phase)", (remap) => {
    const bytes = RemapMessage.encode(remapToProto(remap)).finish();
    expect(remapFromProto(RemapMessage.decode(bytes))).toEqual({ ok: true, value: remap });
  });

  it("names its phases in the order in which they were entered", () => {
    const { phaseAt } = remapToProto({ ...abortedRemap });
    expect(phaseAt.map(({ atMs }) => atMs)).toEqual([...phaseAt.map(({ atMs }) => atMs)].sort());
  });

  it("is refused where it makes no sense, naming the field", () => {
    const message = remapToProto(drainingRemap);
    expect(remapFromProto({ ...message, phase: 0 })).toMatchObject({
      ok: false,
      message: expect.stringMatching(/^phase: /),
    });
    expect(remapFromProto({ ...message, policy: undefined })).toMatchObject({ ok: false });
    expect(remapFromProto({ ...message, switchMs: Number.NaN })).toMatchObject({ ok: false });
    expect(remapFromProto({ ...message, address: "203.0.113" })).toMatchObject({ ok: false });
  });

  it("has a number on the wire for every code of an error", () => {
    for (const code of errorCodes) {
      const remap = { ...abortedRemap, error: { code, message: "m" } };
      expect(remapFromProto(remapToProto(remap))).toEqual({ ok: true, value: remap });
    }
  });
});

describe("a policy on the wire", () => {
  it("comes back as it was sent, zeros and all", () => {
    for (const policy of [defaultPolicy, unusual])
      expect(remapFromProto(remapToProto({ ...freshRemap, policy }))).toMatchObject({ ok: true, value: { policy } });
  });

  it("takes the defaults for what a wish leaves out", () => {
    expect(policyRequestFromProto(undefined)).toEqual({ ok: true, value: defaultPolicy });
    expect(policyRequestFromProto(policyRequestToProto({}))).toEqual({ ok: true, value: defaultPolicy });
    expect(policyRequestFromProto(policyRequestToProto({ lingerMs: 0, follow: false }))).toEqual({
      ok: true,
      value: { ...defaultPolicy, lingerMs: 0, follow: false },
    });
    expect(policyRequestFromProto(policyRequestToProto(unusual))).toEqual({ ok: true, value: unusual });
  });

  it("is refused with a deadline of more than a year", () => {
    const message = { ...policyRequestToProto({}), deadlineMs: 400n * 86_400_000n };
    expect(policyRequestFromProto(message)).toMatchObject({
      ok: false,
      message: expect.stringContaining("policy.deadline_ms"),
    });
  });
});

describe("a preview on the wire", () => {
  it("comes back as it was sent", () => {
    const bare: RemapPreview = {
      address: ip("203.0.113.10"),
      source: "vm-a",
      target: "vm-b",
      policy: defaultPolicy,
      flows: 0,
      refusals: [{ code: "NO_FREE_PRIVATE", message: "vm-b has none" }],
    };
    const whole: RemapPreview = {
      ...bare,
      targetPrivate: ip("10.77.0.12"),
      channel: { kind: "direct", mtu: 1500, provenMtu: 0 },
      flows: 200,
      medianAgeMs: 0,
      oldestAgeMs: 9_000,
      refusals: [],
      mtu: { needed: 1500, carried: 1450, fits: false },
      remarks: ["vm-a holds another address"],
    };
    for (const preview of [bare, whole])
      expect(previewFromProto(previewToProto(preview))).toEqual({ ok: true, value: preview });
  });
});
