/** Where the demo's lines go: redrawn on a terminal, one after another anywhere else. */
import type { WriteStream } from "node:tty";
import type { Scene } from "./demo-scene.ts";
import { coloured, liveLines, type Paint, plain, progressLine, reportLines } from "./demo-text.ts";

const controlSequence = "\u001b[";
const clearToEnd = `${controlSequence}J`;
const hideCursor = `${controlSequence}?25l`;
const showCursor = `${controlSequence}?25h`;

export class Screen implements Disposable {
  readonly #out: WriteStream;
  readonly #redraws: boolean;
  readonly #paint: Paint;
  #drawnLines = 0;
  #lastProgress = "";

  constructor(out: WriteStream) {
    this.#out = out;
    this.#redraws = out.isTTY === true;
    this.#paint = this.#redraws && !process.env["NO_COLOR"] ? coloured : plain;
  }

  say(line: string): void {
    this.#erase();
    this.#write(`${line}\n`);
  }

  title(line: string): void {
    this.say(this.#paint("bold", line));
  }

  /** `moment`: worth a line of its own where nothing can be redrawn. */
  show(scene: Scene, moment: boolean): void {
    if (this.#redraws) {
      this.#redraw(liveLines(scene, this.#paint));
      return;
    }
    const line = progressLine(scene);
    if (!moment || line === this.#lastProgress) return;
    this.#lastProgress = line;
    this.#write(`${line}\n`);
  }

  report(scene: Scene, faults: readonly string[]): void {
    this.#erase();
    this.#write(`${reportLines(scene, faults, this.#paint).join("\n")}\n`);
  }

  [Symbol.dispose](): void {
    if (this.#redraws) this.#write(showCursor);
  }

  #redraw(lines: readonly string[]): void {
    const width = this.#out.columns || 120;
    this.#erase();
    this.#write(`${hideCursor}${lines.map((line) => clip(line, width)).join("\n")}\n`);
    this.#drawnLines = lines.length;
  }

  #erase(): void {
    if (this.#drawnLines > 0) this.#write(`${controlSequence}${this.#drawnLines}F${clearToEnd}`);
    this.#drawnLines = 0;
  }

  #write(text: string): void {
    this.#out.write(text);
  }
}

/** Colour codes take no room; a line that would wrap would break the redrawing. */
function clip(line: string, width: number): string {
  let room = width;
  const pieces = line.split(controlSequence).map((piece, index) => {
    const end = index === 0 ? 0 : piece.indexOf("m") + 1;
    const shown = piece.slice(end, end + Math.max(0, room));
    room -= shown.length;
    return piece.slice(0, end) + shown;
  });
  return pieces.join(controlSequence);
}
