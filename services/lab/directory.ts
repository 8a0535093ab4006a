/**
 * Where a lab keeps what it must remember: below /run/baton-lab/<name>, or .lab in the repository when that can't be
 * written. The directory is also the lock: it exists from the first step of `up` to the last of `down`.
 */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { LabError } from "./lab-error.ts";
import { defaultOptions, type LabOptions } from "./options.ts";

export const repositoryRoot = join(import.meta.dirname, "../..");

export interface LabDirectory {
  readonly path: string;
  /** Configuration files of the services. */
  config(service: string): string;
  log(service: string): string;
  /** Which process a service is. */
  processFile(service: string): string;
  /** Unix socket of a service. */
  socket(service: string): string;
  /** What a service keeps across restarts. */
  data(service: string): string;
  /** Scripts that the network was made by. */
  script(name: string): string;
  readonly optionsFile: string;
  readonly cutsFile: string;
}

const subdirectories = ["config", "log", "process", "socket", "data", "script"] as const;

/** Longest path that the kernel takes for a unix socket, without its final zero (unix(7)). */
const socketPathBytesMax = 107;

export function labDirectory(name: string): LabDirectory {
  const path = join(baseDirectory(), name);
  const below = (directory: (typeof subdirectories)[number], suffix: string) => (entry: string) =>
    join(path, directory, `${entry}${suffix}`);
  return {
    path,
    config: below("config", ""),
    log: below("log", ".log"),
    processFile: below("process", ".json"),
    socket: below("socket", ".sock"),
    data: below("data", ""),
    script: below("script", ""),
    optionsFile: join(path, "lab.json"),
    cutsFile: join(path, "cuts.json"),
  };
}

/** Fails when the directory exists: two `up` at once can't both have it. */
export function createLabDirectory(directory: LabDirectory, options: LabOptions): void {
  if (Buffer.byteLength(directory.socket("coordinator1")) > socketPathBytesMax)
    throw new LabError(`${directory.path} is too long for unix sockets: use a shorter --name`);
  mkdirSync(dirname(directory.path), { recursive: true });
  try {
    mkdirSync(directory.path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") throw alreadyUp(options.name);
    throw error;
  }
  for (const name of subdirectories) mkdirSync(join(directory.path, name));
  writeFileSync(directory.optionsFile, `${JSON.stringify(options)}\n`);
}

/** undefined: there is no such lab. */
export function readOptions(directory: LabDirectory): LabOptions | undefined {
  if (!existsSync(directory.optionsFile)) return undefined;
  // A lab of an earlier version may lack some.
  const stored = JSON.parse(readFileSync(directory.optionsFile, "utf8")) as Partial<LabOptions> &
    Pick<LabOptions, "name">;
  return { ...defaultOptions, ...stored };
}

export function removeLabDirectory(directory: LabDirectory): void {
  rmSync(directory.path, { recursive: true, force: true });
}

export function alreadyUp(name: string): LabError {
  const flag = name === "baton" ? "" : ` --name ${name}`;
  return new LabError(`lab ${name} is up already, or was left half made: remove it with  npm run lab -- down${flag}`);
}

function baseDirectory(): string {
  const wanted = process.env["BATON_LAB_DIRECTORY"];
  if (wanted !== undefined) return wanted;
  try {
    accessSync("/run", constants.W_OK);
    return "/run/baton-lab";
  } catch {
    return join(repositoryRoot, ".lab");
  }
}
