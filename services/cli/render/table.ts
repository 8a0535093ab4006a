/** Tables: a header, and rows below it in columns as wide as their widest cell. */
import { type Line, paint, type Span, textOf } from "./text.ts";

const gap = "  ";

/** `right`: columns whose cells stand at the right, as numbers do. */
export function table(
  header: readonly string[],
  rows: readonly (readonly Span[])[],
  right: readonly string[] = [],
): Line[] {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => textOf(row[column] ?? "").length)),
  );
  const line = (cells: readonly Span[]): Line =>
    cells.flatMap((cell, column) => {
      const padding = " ".repeat((widths[column] ?? 0) - textOf(cell).length);
      const aligned = right.includes(header[column] ?? "") ? [padding, cell] : [cell, padding];
      return column === 0 ? aligned : [gap, ...aligned];
    });
  return [line(header.map((title) => paint(title, "bold"))), ...rows.map(line)];
}
