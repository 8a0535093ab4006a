/**
 * The keys of a cluster: AES-256-GCM. The first encrypts; every key may decrypt, so that keys can be exchanged one
 * member after another: add the new one everywhere, make it first everywhere, remove the old one everywhere.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

export const keyBytes = 32;

/** More than two are seldom wanted, and each is tried on packets that none of them made. */
export const keysMax = 4;
const keyPattern = /^[A-Za-z0-9+/]{43}=$/;
const nonceBytes = 12;
const tagBytes = 16;

/** What encryption adds. */
export const sealBytes = nonceBytes + tagBytes;
const algorithm = "aes-256-gcm";

/** Base64 of {@link keyBytes} bytes, and nothing that a lenient reader would skip. */
export function isKey(text: string): boolean {
  return keyPattern.test(text) && Buffer.from(text, "base64").toString("base64") === text;
}

export class Keyring {
  readonly #keys: readonly Buffer[];

  private constructor(keys: readonly Buffer[]) {
    this.#keys = keys;
  }

  /** `keys`: base64 of 32 bytes each, the one to encrypt with first. */
  static parse(keys: readonly string[]): { ok: true; value: Keyring } | { ok: false; message: string } {
    if (keys.length === 0 || keys.length > keysMax)
      return { ok: false, message: `${keys.length} keys: 1 to ${keysMax} are wanted` };
    const bad = keys.findIndex((key) => !isKey(key));
    if (bad >= 0)
      return {
        ok: false,
        message: `key ${bad + 1} is not base64 of ${keyBytes} bytes: make one with  openssl rand -base64 32`,
      };
    return { ok: true, value: new Keyring(keys.map((key) => Buffer.from(key, "base64"))) };
  }

  /** `context` is not encrypted, but can't be changed. */
  seal(plain: Uint8Array, context: Uint8Array): Buffer {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv(algorithm, this.#keys[0] as Buffer, nonce);
    cipher.setAAD(context);
    return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  /** Undefined: no key of ours made it, or it was altered. */
  open(sealed: Uint8Array, context: Uint8Array): Buffer | undefined {
    if (sealed.length < sealBytes) return undefined;
    for (const key of this.#keys) {
      const decipher = createDecipheriv(algorithm, key, sealed.subarray(0, nonceBytes));
      decipher.setAAD(context);
      decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
      const plain = decipher.update(sealed.subarray(nonceBytes, sealed.length - tagBytes));
      try {
        return Buffer.concat([plain, decipher.final()]);
      } catch {
        /* Another key's, or nobody's; `final` has no other way to say so. */
      }
    }
    return undefined;
  }
}
