/** Lines made of painted pieces. Pure: widths are counted before colours are put in. */

export type Paint = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

export interface Piece {
  readonly text: string;
  readonly paint: Paint;
}

/** A piece, or plain text. */
export type Span = string | Piece;
export type Line = readonly Span[];

const codes: Record<Paint, readonly [open: number, close: number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

export interface TextStyle {
  readonly colours: boolean;
  /** Columns; lines are cut there. 0: as long as they are. */
  readonly width: number;
}

export function paint(text: string, colour: Paint): Piece {
  return { text, paint: colour };
}

export function renderLines(lines: readonly Line[], style: TextStyle): string[] {
  return lines.map((line) => renderLine(line, style));
}

export function renderLine(line: Line, { colours, width }: TextStyle): string {
  let left = width > 0 ? width : Number.POSITIVE_INFINITY;
  let rendered = "";
  for (const span of line) {
    const text = cut(textOf(span), left);
    left -= text.length;
    rendered += colours && typeof span !== "string" && text !== "" ? coloured(text, span.paint) : text;
  }
  return rendered.trimEnd();
}

export function textOf(span: Span): string {
  return typeof span === "string" ? span : span.text;
}

function cut(text: string, columns: number): string {
  if (text.length <= columns) return text;
  return columns > 0 ? `${text.slice(0, columns - 1)}…` : "";
}

function coloured(text: string, colour: Paint): string {
  const [open, close] = codes[colour];
  return `\u001b[${open}m${text}\u001b[${close}m`;
}
