/**
 * Which settings the environment overrides: BATON_<SECTION>_<KEY> for each leaf of a schema, with camelCase written as
 * CAMEL_CASE. Variables that name no setting of this schema are left alone, for one environment may serve several
 * services.
 */
import { parse } from "yaml";
import type { z } from "zod";

export interface EnvOverride {
  /** Name of the variable. */
  readonly name: string;
  readonly path: readonly string[];
  readonly value: unknown;
}

/** Parts of a zod schema that are needed to walk it. */
interface SchemaShape {
  readonly type: string;
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly out?: z.ZodType;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
}

const sectionDepthMax = 6;

export function envOverrides(schema: z.ZodType, env: NodeJS.ProcessEnv): EnvOverride[] {
  return leavesOf(schema, []).flatMap(({ path, type }) => {
    const name = `BATON_${path.map(upperSnake).join("_")}`;
    const text = env[name];
    return text === undefined ? [] : [{ name, path, value: readValue(text, type) }];
  });
}

function leavesOf(schema: z.ZodType, path: readonly string[]): { path: readonly string[]; type: string }[] {
  const shape = unwrap(schema);
  // A section with short forms: the whole of it by its own name, or its settings by theirs.
  if (shape.type === "unknown" && shape.out !== undefined)
    return [{ path, type: shape.type }, ...leavesOf(shape.out, path)];
  if (shape.shape === undefined || path.length >= sectionDepthMax)
    return path.length > 0 ? [{ path, type: shape.type }] : [];
  return Object.entries(shape.shape).flatMap(([key, value]) => leavesOf(value, [...path, key]));
}

function unwrap(schema: z.ZodType): SchemaShape {
  let shape = schema.def as unknown as SchemaShape;
  for (let depth = 0; depth < sectionDepthMax; depth++) {
    const inner = shape.innerType ?? (shape.type === "pipe" ? shape.in : undefined);
    if (inner === undefined) break;
    const { out } = shape;
    if (inner.def.type === "unknown" && out !== undefined) return { type: "unknown", out };
    shape = inner.def as unknown as SchemaShape;
  }
  return shape;
}

/** A string stays as it is; a list may be written with commas; all else is read as YAML. */
function readValue(text: string, type: string): unknown {
  if (type === "string" || type === "enum") return text;
  if (type === "array" && !text.trimStart().startsWith("[")) return text.split(",").map((part) => part.trim());
  try {
    return parse(text);
  } catch {
    return text;
  }
}

function upperSnake(key: string): string {
  return key.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();
}
