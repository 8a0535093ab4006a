/**
 * The one error of this room: a call into the kernel that failed, by the name of its errno.
 *
 * Owns the translation of errno numbers into names and into the step that a person takes next.
 */
import koffi from "koffi";

/** "EPERM", "ENOENT" …; "E<number>" for a number without a name. */
export type ErrnoName = string;

/** Names that share their number with another one, and win. */
const preferredNames = ["EAGAIN", "EOPNOTSUPP", "EDEADLK"];

const namesByNumber = new Map<number, ErrnoName>();
for (const [name, number] of Object.entries(koffi.os.errno)) {
  if (!namesByNumber.has(number) || preferredNames.includes(name)) namesByNumber.set(number, name);
}

export function errnoName(number: number): ErrnoName {
  return namesByNumber.get(number) ?? `E${number}`;
}

const nextSteps: Readonly<Record<string, string>> = {
  EPERM: "run as root, or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW",
  EACCES: "run as root, or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW",
  EPROTONOSUPPORT: "this kernel lacks the protocol; load its module or use a kernel that has it",
  EOPNOTSUPP: "this kernel lacks the feature; load its module or use a kernel that has it",
  EAFNOSUPPORT: "this kernel lacks the address family; load its module or use a kernel that has it",
  EMFILE: "raise the limit of open files (ulimit -n)",
  ENFILE: "raise the limit of open files of this host (fs.file-max)",
  ENOBUFS: "the receive buffer was full and messages were lost; read the state again, and raise net.core.rmem_max",
  ENODEV: "look for the device with `ip link`",
  EBUSY: "another process holds it; find and stop that one",
};

export class KernelError extends Error {
  override readonly name = "KernelError";
  readonly operation: string;
  readonly errno: ErrnoName;
  /** What the kernel itself said about it (netlink extended acknowledgement), or "". */
  readonly detail: string;

  constructor(operation: string, errno: ErrnoName, detail = "") {
    const step = nextSteps[errno];
    super(`${operation}: ${errno}${detail === "" ? "" : ` (${detail})`}${step === undefined ? "" : `; ${step}`}`);
    this.operation = operation;
    this.errno = errno;
    this.detail = detail;
  }
}
