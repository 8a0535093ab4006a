import { deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type EncryptionMode, Envelope, envelopeBytesMax } from "../../../src/gossip/edge/envelope.ts";
import { Keyring } from "../../../src/gossip/edge/keyring.ts";

const oldKey = Buffer.alloc(32, 1).toString("base64");
const newKey = Buffer.alloc(32, 2).toString("base64");

function keyring(...keys: string[]): Keyring {
  const parsed = Keyring.parse(keys);
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.value;
}

function envelope(mode: EncryptionMode, keys: string[] = [oldKey], label = "lab"): Envelope {
  return new Envelope({ label, mode, keyring: mode === "off" ? undefined : keyring(...keys) });
}

const payload = Buffer.from("who lives?");
const read = (from: Envelope, to: Envelope): string => {
  const opened = to.open(from.wrap(payload, false), 1_500);
  return opened.ok ? Buffer.from(opened.payload).toString() : opened.fault;
};

describe("an envelope", () => {
  it("gives back what was put in, plain or sealed", () => {
    expect(read(envelope("off"), envelope("off"))).toBe("who lives?");
    expect(read(envelope("require"), envelope("require"))).toBe("who lives?");
    expect(envelope("require").wrap(payload, false).includes("lives")).toBe(false);
  });

  it("adds no more bytes than it says", () => {
    const sealed = envelope("require", [oldKey], "x".repeat(32)).wrap(payload, false);
    expect(sealed.length - payload.length).toBe(envelopeBytesMax);
  });

  it("with a bad checksum is refused, wherever the bit was turned", () => {
    const bytes = envelope("off").wrap(payload, false);
    for (let at = 0; at < bytes.length; at++) {
      const turned = Buffer.from(bytes);
      turned[at] = (turned[at] as number) ^ 0x10;
      expect(envelope("off").open(turned, 1_500).ok, `byte ${at}`).toBe(false);
    }
  });

  it("that was sealed is refused with any bit turned, its head and label too", () => {
    const bytes = envelope("require").wrap(payload, false);
    for (let at = 0; at < bytes.length; at++) {
      const turned = Buffer.from(bytes);
      turned[at] = (turned[at] as number) ^ 1;
      expect(envelope("require").open(turned, 1_500).ok, `byte ${at}`).toBe(false);
    }
  });

  it("of another cluster's label is refused", () => {
    expect(read(envelope("off", [], "lab"), envelope("off", [], "prod"))).toBe("label");
    expect(read(envelope("require", [oldKey], "lab"), envelope("require", [oldKey], "prod"))).toBe("label");
  });

  it("cut off at any place is refused", () => {
    for (const mode of ["off", "require"] as const) {
      const bytes = envelope(mode).wrap(payload, false);
      for (let length = 0; length < bytes.length; length++)
        expect(envelope(mode).open(bytes.subarray(0, length), 1_500).ok).toBe(false);
    }
  });

  it("with a decompression bomb is refused before it is unpacked", () => {
    const bomb = Buffer.alloc(50_000_000);
    const bytes = envelope("off").wrap(bomb, true);
    expect(bytes.length).toBeLessThan(60_000);
    expect(deflateRawSync(bomb).length).toBeLessThan(60_000);
    expect(envelope("off").open(bytes, 1_000_000)).toEqual({ ok: false, fault: "size" });
    expect(envelope("off").open(bytes, 50_000_000).ok).toBe(true);
  });

  it("keeps who encrypts and who doesn't apart as the mode says", () => {
    const modes = ["off", "accept", "send", "require"] as const;
    const table = modes.map((from) => modes.map((to) => read(envelope(from), envelope(to)) === "who lives?"));
    expect(table).toEqual([
      [true, true, true, false],
      [true, true, true, false],
      [false, true, true, true],
      [false, true, true, true],
    ]);
  });

  it("lets a key be exchanged one member after another", () => {
    const steps = [[oldKey], [oldKey, newKey], [newKey, oldKey], [newKey]];
    for (let step = 0; step + 1 < steps.length; step++) {
      const [before, after] = [envelope("require", steps[step]), envelope("require", steps[step + 1])];
      expect([read(before, after), read(after, before)]).toEqual(["who lives?", "who lives?"]);
    }
    expect(read(envelope("require", [oldKey]), envelope("require", [newKey]))).toBe("sealed");
  });

  it("refuses keys of other sizes, and says how to make one", () => {
    const parsed = Keyring.parse([oldKey, "c2hvcnQ="]);
    expect(parsed).toEqual({ ok: false, message: expect.stringContaining("key 2 is not base64 of 32 bytes") });
  });
});
