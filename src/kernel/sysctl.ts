/**
 * Kernel settings below /proc/sys: read, changed for as long as baton needs them, and put back.
 *
 * Owns a file that remembers, before anything is changed, what each setting was. Rules it keeps:
 * - What is put back is what others wrote last. A value that is neither ours nor the remembered one was set by somebody
 *   meanwhile; it becomes the remembered one, and when we end and find it there, it stays.
 * - A crash at any point is healed by the next `apply`, which may be that of another process.
 * - After a reboot the file is void, for the kernel has forgotten our values too.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { readDurableFile, writeDurableFile } from "./durable-file.ts";
import { KernelError } from "./kernel-error.ts";

export interface Sysctl {
  /** Below /proc/sys, with slashes, for names of devices may have dots: "net/ipv4/conf/eth0.7/rp_filter". */
  readonly path: string;
  readonly value: string;
}

const root = "/proc/sys";
const bootIdPath = "kernel/random/boot_id";
const maxPathCharacters = 200;

const recordSchema = z.strictObject({
  path: z.string().refine(isSysctlPath),
  /** What others wrote last. */
  found: z.string(),
  /** All that baton wrote since; more than one value after changes of mind. */
  ours: z.array(z.string()),
});
const fileSchema = z.strictObject({ boot: z.string(), settings: z.array(recordSchema) });
type SettingRecord = z.infer<typeof recordSchema>;

export function deviceSysctlPath(family: 4 | 6, device: string, name: string): string {
  return `net/ipv${family}/conf/${device}/${name}`;
}

/** `undefined` when this kernel, or this namespace, has no such setting. */
export function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(locate(path), "utf8").trim().replaceAll(/\s+/g, " ");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new KernelError(`read sysctl ${path}`, codeOf(error));
  }
}

/** @throws KernelError ENOENT where there is no such setting, EINVAL where the kernel does not take the value */
export function writeSysctl(path: string, value: string): void {
  try {
    writeFileSync(locate(path), value);
  } catch (error) {
    throw new KernelError(`set sysctl ${path} to ${value}`, codeOf(error));
  }
}

export class SavedSysctls {
  readonly #file: string;
  #records: readonly SettingRecord[];

  /**
   * @param file where the values are remembered; its directory exists
   * @param onDamaged is told where what was remembered can't be read; the file is set aside then
   */
  constructor(file: string, onDamaged: (message: string) => void) {
    this.#file = file;
    const loaded = loadRecords(file);
    if (!loaded.ok) {
      renameSync(file, `${file}.damaged`);
      onDamaged(`${loaded.message}; it is now ${file}.damaged, and what it remembered is not put back`);
    }
    this.#records = loaded.ok ? loaded.records : [];
  }

  /**
   * Makes these settings ours too, in this order.
   * @throws KernelError where one can't be set; the ones before it are set then
   */
  add(wanted: readonly Sysctl[]): void {
    const paths = new Set(wanted.map(({ path }) => path));
    const others = this.#records.filter(({ path }) => !paths.has(path));
    this.#save([...others, ...wanted.map((setting) => this.#noted(setting))]);
    for (const { path, value } of wanted) if (readSysctl(path) !== value) writeSysctl(path, value);
  }

  /**
   * Makes exactly these settings ours: sets them, in this order, and puts back those that were ours and no longer are.
   * @throws KernelError where one can't be set; the ones before it are set then
   */
  apply(wanted: readonly Sysctl[]): void {
    this.add(wanted);
    const wantedPaths = new Set(wanted.map(({ path }) => path));
    for (const record of this.#records.filter(({ path }) => !wantedPaths.has(path)).toReversed()) putBack(record);
    this.#save(this.#records.filter(({ path }) => wantedPaths.has(path)));
  }

  /** What others wrote last to a setting that is ours now; `undefined` for one that is not. */
  foundValue(path: string): string | undefined {
    return this.#records.find((record) => record.path === path)?.found;
  }

  restore(): void {
    this.apply([]);
  }

  #noted({ path, value }: Sysctl): SettingRecord {
    const current = readSysctl(path);
    if (current === undefined) throw new KernelError(`read sysctl ${path}`, "ENOENT");
    const known = this.#records.find((record) => record.path === path);
    if (known === undefined) return { path, found: current, ours: [value] };
    const found = known.ours.includes(current) ? known.found : current;
    return { path, found, ours: [...new Set([...known.ours, value])] };
  }

  #save(records: readonly SettingRecord[]): void {
    if (JSON.stringify(records) === JSON.stringify(this.#records)) return;
    writeDurableFile(this.#file, `${JSON.stringify({ boot: bootId(), settings: records }, null, 2)}\n`);
    this.#records = records;
  }
}

function putBack(record: SettingRecord): void {
  const current = readSysctl(record.path);
  const isOurs = current !== undefined && record.ours.includes(current);
  if (isOurs && current !== record.found) writeSysctl(record.path, record.found);
}

type LoadedRecords =
  | { readonly ok: true; readonly records: readonly SettingRecord[] }
  | { readonly ok: false; readonly message: string };

function loadRecords(file: string): LoadedRecords {
  const text = readDurableFile(file);
  if (text === undefined) return { ok: true, records: [] };
  const parsed = fileSchema.safeParse(parseJson(text));
  if (!parsed.success) return { ok: false, message: `${file} does not hold saved sysctls` };
  return { ok: true, records: parsed.data.boot === bootId() ? parsed.data.settings : [] };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function bootId(): string {
  return readSysctl(bootIdPath) ?? "";
}

function locate(path: string): string {
  if (!isSysctlPath(path)) throw new RangeError(`not a sysctl path with slashes: ${JSON.stringify(path)}`);
  return `${root}/${path}`;
}

function isSysctlPath(path: string): boolean {
  const steps = path.split("/");
  return (
    path.length <= maxPathCharacters && steps.length > 1 && steps.every((step) => /^(?!\.{1,2}$)[!-.0-~]+$/.test(step))
  );
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "EIO";
}
