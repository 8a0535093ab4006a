/** Numbers as people read them. */

const bytesPerStep = 1_000;
const byteUnits = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

export function formatBytes(bytes: number | bigint): string {
  let value = Number(bytes);
  let unit = 0;
  while (value >= bytesPerStep && unit < byteUnits.length - 1) {
    value /= bytesPerStep;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${byteUnits[unit]}`;
}

/** Thousands in groups: 12,345. */
export function formatCount(count: number | bigint): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "1 connection", "2 connections". */
export function counted(count: number | bigint, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 || count === 1n ? "" : "s"}`;
}
