/**
 * One value on disk that survives a crash at any moment: the old one or the new one is there, never half of one.
 *
 * Written beside the file, flushed, renamed over it. The first line holds a checksum of the rest, so that a damaged
 * file is told from a whole one; what the bytes mean is the codec's affair.
 */
import { createHash } from "node:crypto";
import { accessSync, constants, mkdirSync } from "node:fs";
import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { ServiceError } from "./service-error.ts";

export interface FileCodec<T> {
  encode(value: T): Uint8Array;
  decode(
    bytes: Uint8Array,
  ): { readonly ok: true; readonly value: T } | { readonly ok: false; readonly message: string };
}

export type FileContent<T> =
  | { readonly kind: "found"; readonly value: T }
  | { readonly kind: "missing" }
  /** `message` names the file, the cause and the next step. */
  | { readonly kind: "damaged"; readonly message: string };

/** Larger than any state: the message that brought it had 16 MiB at the most. */
const fileBytesMax = 64 * 1024 * 1024;
const headerForm = /^baton-state 1 ([0-9a-f]{64})$/;
/** What the state says about a network is nobody else's business. */
const fileMode = 0o600;
const directoryMode = 0o700;

/** Makes the directory where it is missing. @throws ServiceError where it can't be made or written */
export function prepareStateDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: directoryMode });
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new ServiceError(
      `stateDirectory ${directory}: what must survive a reboot can't be kept there: ${cause}. Choose another directory, or make this one writable`,
    );
  }
}

/** Rejects only where the file is there and can't be read. */
export async function readStateFile<T>(path: string, codec: FileCodec<T>): Promise<FileContent<T>> {
  await using file = await openIfThere(path);
  if (file === undefined) return { kind: "missing" };
  const { size } = await file.stat();
  if (size > fileBytesMax) return damaged(path, `${size} bytes; a state has at most ${fileBytesMax}`);
  const bytes = await file.readFile();
  const end = bytes.indexOf("\n");
  const digest = headerForm.exec(bytes.subarray(0, Math.max(0, end)).toString("latin1"))?.[1];
  if (digest === undefined) return damaged(path, "its first line is not a state's");
  const body = bytes.subarray(end + 1);
  if (sha256(body) !== digest) return damaged(path, "its checksum does not match");
  const decoded = codec.decode(body);
  return decoded.ok ? { kind: "found", value: decoded.value } : damaged(path, decoded.message);
}

/** Resolves once the value is on the disk. One writer at a time; its directory is made where it is missing. */
export async function writeStateFile<T>(path: string, value: T, codec: FileCodec<T>): Promise<void> {
  const body = codec.encode(value);
  const directory = dirname(path);
  const fresh = `${path}.new`;
  await mkdir(directory, { recursive: true, mode: directoryMode });
  {
    await using file = await open(fresh, "w", fileMode);
    await file.writeFile(`baton-state 1 ${sha256(body)}\n`);
    await file.writeFile(body);
    await file.sync();
  }
  await rename(fresh, path);
  // The rename itself is on the disk only when the directory is.
  await using handle = await open(directory, "r");
  await handle.sync();
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function damaged(path: string, cause: string): { readonly kind: "damaged"; readonly message: string } {
  return { kind: "damaged", message: `${path} can't be used: ${cause}; the next one that is told replaces it` };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
