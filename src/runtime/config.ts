/**
 * Configuration of a service: one YAML file, overridden by the environment, validated by a schema.
 *
 * Every fault names file, line and column, the path, what was expected and what was found.
 */
import { readFileSync, statSync } from "node:fs";
import { type Document, isMap, isScalar, LineCounter, parseDocument, stringify } from "yaml";
import { z } from "zod";
import { type EnvOverride, envOverrides } from "./config-env.ts";

export type LoadedConfig<T> =
  | { readonly ok: true; readonly value: T }
  /** One line for each fault. */
  | { readonly ok: false; readonly errors: readonly string[] };

type Path = readonly PropertyKey[];

const configBytesMax = 1_048_576;
const foundCharactersMax = 60;
/** YAML aliases that are followed; none is needed. */
const aliasesMax = 100;

/** A part of a path whose value must not appear in an error, or in print. Seeds of a gossip are addresses. */
const secretName = /password|secret|token|credential|seed$|keys?$/i;
/** As in nats://user:password@host. */
const userInUrl = /\/\/[^/@]+@/;
const hidden = "(hidden)";

export function loadConfig<T>(schema: z.ZodType<T>, file: string, env: NodeJS.ProcessEnv): LoadedConfig<T> {
  const text = readConfigText(file);
  if (!text.ok) return { ok: false, errors: [text.error] };
  return parseConfig(schema, { file, text: text.value, env });
}

/** {@link loadConfig} for a text that has been read already. */
export function parseConfig<T>(
  schema: z.ZodType<T>,
  source: { readonly file: string; readonly text: string; readonly env: NodeJS.ProcessEnv },
): LoadedConfig<T> {
  const lines = new LineCounter();
  const document = parseDocument(source.text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${source.file}:${line}:${col}`;
  };
  if (document.errors.length > 0)
    return { ok: false, errors: document.errors.map((error) => `${at(error.pos[0])}: not YAML: ${error.message}`) };
  if (document.contents !== null && !isMap(document.contents))
    return { ok: false, errors: [`${at(0)}: expected a map of settings, found ${show(document.toJS(), [])}`] };

  const overrides = envOverrides(schema, source.env);
  const settings: unknown = document.toJS({ maxAliasCount: aliasesMax }) ?? {};
  for (const override of overrides) setAt(settings, override.path, override.value);
  const result = schema.safeParse(settings, { reportInput: true });
  if (result.success) return { ok: true, value: result.data };
  const place = (path: Path): string => overridden(path, overrides) ?? at(offsetOf(document, path));
  return { ok: false, errors: result.error.issues.flatMap((issue) => describe(issue, place)) };
}

/** The configuration as a file that would be read as the same one, but for its secrets. */
export function printConfig<T>(schema: z.ZodType<T>, value: T): string {
  return stringify(z.encode(schema, value), (key, setting: unknown) => {
    if (secretName.test(String(key)) && !isEmpty(setting)) return hidden;
    return typeof setting === "string" ? setting.replace(userInUrl, `//${hidden}@`) : setting;
  });
}

/** There is no secret in nothing, and a file that says so can be read again. */
function isEmpty(setting: unknown): boolean {
  return setting === undefined || (Array.isArray(setting) && setting.length === 0);
}

/** Sections on the way are made; where something else stands there, it stays, and the schema will say so. */
function setAt(target: unknown, [head, ...rest]: readonly string[], value: unknown): void {
  if (head === undefined || typeof target !== "object" || target === null) return;
  const record = target as Record<string, unknown>;
  if (rest.length === 0) record[head] = value;
  else {
    record[head] ??= {};
    setAt(record[head], rest, value);
  }
}

function readConfigText(file: string): { ok: true; value: string } | { ok: false; error: string } {
  try {
    const { size } = statSync(file);
    if (size > configBytesMax)
      return { ok: false, error: `${file}: ${size} bytes; a configuration has at most ${configBytesMax}` };
    return { ok: true, value: readFileSync(file, "utf8") };
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    return { ok: false, error: `${file}: can't be read: ${cause}. Name another file with --config` };
  }
}

function describe(issue: z.core.$ZodIssue, place: (path: Path) => string): string[] {
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return `${place(path)}: ${pathText(path)}: unknown setting; expected one that the documentation names`;
    });
  const missing = issue.input === undefined && issue.code === "invalid_type";
  const found = missing ? "nothing" : show(issue.input, issue.path);
  return [`${place(issue.path)}: ${pathText(issue.path)}: expected ${expectation(issue)}, found ${found}`];
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.expected;
    case "invalid_value":
      return `one of ${issue.values.map((value) => JSON.stringify(value)).join(", ")}`;
    case "too_small":
      return `${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}${unitOf(issue.origin)}`;
    case "too_big":
      return `${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}${unitOf(issue.origin)}`;
    case "invalid_format":
      return issue.pattern === undefined ? issue.format : `text like ${issue.pattern}`;
    case "invalid_key":
      return `a name of ${issue.issues.map(expectation).join(" and ")}`;
    case "invalid_union":
      return issue.errors.map((errors) => errors.map(expectation).join(" and ")).join(", or ") || "another value";
    default:
      return issue.message;
  }
}

function unitOf(origin: string): string {
  if (origin === "string") return " characters";
  return origin === "array" || origin === "set" ? " entries" : "";
}

function overridden(path: Path, overrides: readonly EnvOverride[]): string | undefined {
  const found = overrides.find((override) => override.path.every((part, index) => path[index] === part));
  return found === undefined ? undefined : `environment ${found.name}`;
}

/** Where the path's key or value stands; where there is none, the nearest thing around it. */
function offsetOf(document: Document, path: Path): number {
  for (let length = path.length; length > 0; length--) {
    const key = path[length - 1];
    const parent: unknown = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isScalar(item.key) && item.key.value === key);
      if (pair !== undefined && isScalar(pair.key) && pair.key.range) return pair.key.range[0];
    }
    const node: unknown = document.getIn(path.slice(0, length), true);
    if (isScalar(node) && node.range) return node.range[0];
  }
  return 0;
}

function show(value: unknown, path: Path): string {
  if (value === undefined) return "nothing";
  if (path.some((part) => secretName.test(String(part)))) return "a value that is not shown";
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= foundCharactersMax ? text : `${text.slice(0, foundCharactersMax)}…`;
}

function pathText(path: Path): string {
  if (path.length === 0) return "the configuration";
  return path
    .map((part, index) => (typeof part === "number" ? `[${part}]` : `${index > 0 ? "." : ""}${String(part)}`))
    .join("");
}
