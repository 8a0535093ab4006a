/** Where a command's words go, and where its questions are answered. */
import { createInterface } from "node:readline/promises";
import type { Json } from "../../src/remap/report.ts";
import { type Line, renderLines, type TextStyle } from "./render/text.ts";

export interface Terminal {
  /** Somebody looks at standard output as it is written. */
  readonly live: boolean;
  /** Somebody can answer. */
  readonly interactive: boolean;
  style(): TextStyle;
  lines(lines: readonly Line[]): void;
  json(value: Json): void;
  write(text: string): void;
  note(text: string): void;
  /** Rejects with the abort reason. */
  confirm(question: string, signal: AbortSignal): Promise<boolean>;
}

export function processTerminal(env: NodeJS.ProcessEnv): Terminal {
  const live = process.stdout.isTTY === true;
  // A reader such as `head` that has seen enough is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0);
  });
  const style = (): TextStyle => ({
    colours: live && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb",
    width: live ? process.stdout.columns : 0,
  });
  const write = (text: string): void => void process.stdout.write(text);
  return {
    live,
    interactive: live && process.stdin.isTTY === true,
    style,
    write,
    lines: (lines) =>
      write(
        renderLines(lines, style())
          .map((line) => `${line}\n`)
          .join(""),
      ),
    json: (value) => write(`${JSON.stringify(value)}\n`),
    note: (text) => void process.stderr.write(`${text}\n`),
    confirm: async (question, signal) => {
      // Line by line, not key by key: Ctrl-C stays the signal that it is everywhere else.
      const questions = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
      const closed = new Promise<string>((resolve) => questions.once("close", () => resolve("")));
      try {
        const answer = await Promise.race([questions.question(`${question} [y/N] `, { signal }), closed]);
        return /^y(es)?$/i.test(answer.trim());
      } finally {
        questions.close();
      }
    },
  };
}
