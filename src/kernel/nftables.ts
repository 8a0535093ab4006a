/**
 * nftables transactions in this process, by libnftables: no process to start, and one call is one transaction.
 *
 * Owns one context of the library. It must stay in the thread that made it, and works in the network namespace that the
 * thread was in then. The library aborts the whole process on some expressions that it can't compile (see the notes in
 * dataplane), so only rulesets that tests have shown to it may be given to it, never text from outside.
 */
import { closeSync, writeFileSync } from "node:fs";
import koffi, { type LibraryHandle } from "koffi";
import { KernelError } from "./kernel-error.ts";
import { openMemoryFile } from "./libc.ts";
import { NetlinkSocket, netlinkFamily } from "./netlink.ts";

export type NftablesOutcome =
  | { readonly ok: true; readonly output: string }
  | { readonly ok: false; readonly message: string };

export type NftablesListing =
  /** Objects of one key each, as man 5 libnftables-json describes them, without the "metainfo". */
  { readonly ok: true; readonly objects: readonly NftablesObject[] } | { readonly ok: false; readonly message: string };

export type NftablesObject = Readonly<Record<string, unknown>>;

export interface ListOptions {
  /** Leave out the elements of sets, which can be very many. */
  readonly terse?: boolean;
}

const libraryName = "libnftables.so.1";
const outputFlag = { json: 1 << 4, terse: 1 << 11 } as const;
/** Of a message: the library repeats the command in it, which may hold thousands of elements. */
const maxMessageCharacters = 2_000;

interface Library {
  readonly newContext: (flags: number) => bigint | null;
  readonly freeContext: (context: bigint) => void;
  readonly bufferOutput: (context: bigint) => number;
  readonly bufferErrors: (context: bigint) => number;
  readonly setOutputFlags: (context: bigint, flags: number) => void;
  readonly runBuffer: (context: bigint, commands: Uint8Array) => number;
  readonly runFile: (context: bigint, path: string) => number;
  readonly output: (context: bigint) => string | null;
  readonly errors: (context: bigint) => string | null;
}

let loaded: Library | undefined;

export class Nftables implements Disposable {
  readonly #library: Library;
  #context: bigint | undefined;

  /** @throws KernelError when libnftables or the kernel's part of nftables is missing */
  constructor() {
    this.#library = loadLibrary();
    assertNetfilterSocket();
    const context = this.#library.newContext(0);
    if (context === null) throw new KernelError("open nftables", "ENOMEM");
    this.#context = context;
    if (this.#library.bufferOutput(context) !== 0 || this.#library.bufferErrors(context) !== 0) {
      this[Symbol.dispose]();
      throw new KernelError("open nftables", "ENOMEM");
    }
  }

  /** Commands as `nft -f` takes them; all of them happen, or none. */
  run(commands: string): NftablesOutcome {
    return this.#run(commands, 0);
  }

  /** @param command "list table inet baton": anything that prints; its output is asked for as JSON */
  list(command: string, options: ListOptions = {}): NftablesListing {
    const outcome = this.#run(command, outputFlag.json | (options.terse === true ? outputFlag.terse : 0));
    if (!outcome.ok) return outcome;
    const { nftables } = JSON.parse(outcome.output) as { nftables: readonly NftablesObject[] };
    return { ok: true, objects: nftables.filter((object) => !("metainfo" in object)) };
  }

  [Symbol.dispose](): void {
    if (this.#context === undefined) return;
    this.#library.freeContext(this.#context);
    this.#context = undefined;
  }

  #run(commands: string, flags: number): NftablesOutcome {
    if (commands.includes("\0")) return { ok: false, message: "nftables commands must not contain a zero byte" };
    const bytes = new TextEncoder().encode(`${commands}\0`);
    const outcome = this.#call(flags, (context) => this.#library.runBuffer(context, bytes));
    return outcome.ok || !commands.includes("\n") ? outcome : this.#runAsFile(commands, flags);
  }

  /**
   * The library quotes the first line of a buffer whichever line is wrong, but names the right one of a file. So what was
   * refused is tried once more from a file; should the reason be gone by then, all the better.
   */
  #runAsFile(commands: string, flags: number): NftablesOutcome {
    const file = openMemoryFile("nftables");
    try {
      writeFileSync(file, commands);
      const path = `/proc/self/fd/${file}`;
      const outcome = this.#call(flags, (context) => this.#library.runFile(context, path));
      return outcome.ok ? outcome : { ok: false, message: outcome.message.replaceAll(`${path}:`, "line ") };
    } finally {
      closeSync(file);
    }
  }

  #call(flags: number, run: (context: bigint) => number): NftablesOutcome {
    const context = this.#context;
    if (context === undefined) throw new Error("nftables was used after it was disposed of");
    this.#library.setOutputFlags(context, flags);
    const result = run(context);
    const output = this.#library.output(context) ?? "";
    const errors = this.#library.errors(context) ?? "";
    return result === 0 ? { ok: true, output } : { ok: false, message: refusal(errors) };
  }
}

function refusal(errors: string): string {
  const message = errors.trim().slice(0, maxMessageCharacters) || "nftables refused the commands without a reason";
  return /Operation not permitted/.test(message)
    ? `${message}\nrun as root, or with the capability CAP_NET_ADMIN`
    : message;
}

function loadLibrary(): Library {
  loaded ??= bindLibrary(openLibrary());
  return loaded;
}

function openLibrary(): LibraryHandle {
  try {
    return koffi.load(libraryName);
  } catch {
    throw new KernelError("load libnftables", "ENOENT", `${libraryName} is missing: apt-get install libnftables1`);
  }
}

function bindLibrary(library: LibraryHandle): Library {
  return {
    newContext: library.func("void *nft_ctx_new(uint32_t flags)"),
    freeContext: library.func("void nft_ctx_free(void *context)"),
    bufferOutput: library.func("int nft_ctx_buffer_output(void *context)"),
    bufferErrors: library.func("int nft_ctx_buffer_error(void *context)"),
    setOutputFlags: library.func("void nft_ctx_output_set_flags(void *context, unsigned int flags)"),
    runBuffer: library.func("int nft_run_cmd_from_buffer(void *context, const void *commands)"),
    runFile: library.func("int nft_run_cmd_from_filename(void *context, const char *path)"),
    output: library.func("const char *nft_ctx_get_output_buffer(void *context)"),
    errors: library.func("const char *nft_ctx_get_error_buffer(void *context)"),
  };
}

/** The library ends the process where it can't open this socket. */
function assertNetfilterSocket(): void {
  new NetlinkSocket(netlinkFamily.netfilter)[Symbol.dispose]();
}
