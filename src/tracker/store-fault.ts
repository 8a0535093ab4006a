/** What ails a tracker's database, told by what helps. */

export type StoreFaultKind =
  /** Room on the disk helps. */
  | "full"
  /** Nothing in it can be relied on: it must be thrown away and built anew. */
  | "damaged"
  /** Another process has it. */
  | "in-use"
  /** Whoever runs the host must look. */
  | "failed";

export class StoreFault extends Error {
  override readonly name = "StoreFault";
  readonly kind: StoreFaultKind;

  constructor(kind: StoreFaultKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

const advice: Readonly<Record<StoreFaultKind, string>> = {
  full: "free some room there; the tracker goes on by itself then",
  damaged: "it is thrown away and built anew from the event stream and the instances",
  "in-use": "another process has it open: stop that one, or give this tracker a data directory of its own",
  failed: "check that the directory is on a working disk and belongs to the tracker's user",
};

/** From an error of LevelDB's, which tells its cause by code and, within "IO error", by the words of the system's. */
export function storeFault(directory: string, error: unknown): StoreFault {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const message = cause instanceof Error ? cause.message : String(cause);
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const kind = kindOf(code, message);
  return new StoreFault(kind, `${directory}: the tracker's database can't be used: ${message}; ${advice[kind]}`, error);
}

/** Files that are not there or too short are not the system's fault but the database's. */
function kindOf(code: string, message: string): StoreFaultKind {
  if (code === "LEVEL_LOCKED") return "in-use";
  if (/no space left on device|disk quota exceeded/i.test(message)) return "full";
  if (code === "LEVEL_CORRUPTION" || /No such file or directory|Invalid argument/.test(message)) return "damaged";
  return "failed";
}
