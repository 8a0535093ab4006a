/** Cuts a byte stream into lines. */

/** A peer that sends more than this without a newline does not speak our protocols. */
const longestLineBytes = 65_536;

export class Lines {
  #rest = "";

  /** The lines that `piece` completes, without their ends. */
  push(piece: Buffer): string[] {
    const text = this.#rest + piece.toString("latin1");
    const lines = text.split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > longestLineBytes) throw new Error(`a line of more than ${longestLineBytes} bytes`);
    return lines;
  }
}
