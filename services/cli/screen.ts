/** A block of lines at the bottom of a terminal that is drawn again and again in place. */
import { type Line, renderLines } from "./render/text.ts";
import type { Terminal } from "./terminal.ts";

/** Cursor to the first column, that many lines up, everything below cleared. */
const rewind = (lines: number): string => (lines === 0 ? "" : `\u001b[${lines}A\r\u001b[J`);
const hideCursor = "\u001b[?25l";
const showCursor = "\u001b[?25h";

/** Disposing leaves the last frame on the screen. */
export class Screen implements Disposable {
  readonly #terminal: Terminal;
  #drawn = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    terminal.write(hideCursor);
  }

  draw(lines: readonly Line[]): void {
    const rendered = renderLines(lines, this.#terminal.style());
    this.#terminal.write(`${rewind(this.#drawn)}${rendered.map((line) => `${line}\n`).join("")}`);
    this.#drawn = rendered.length;
  }

  [Symbol.dispose](): void {
    this.#terminal.write(showCursor);
  }
}
