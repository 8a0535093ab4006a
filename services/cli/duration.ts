/** Durations as people type and read them. */

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const form = /^(?:\d+(?:\.\d+)?(?:ms|[smhd]))+$/;
const part = /(\d+(?:\.\d+)?)(ms|[smhd])/g;

export const durationForms = "a duration like 250ms, 10s, 30m, 1h30m or 2d";
export const durationMsMax = 366 * 86_400_000;

/** Milliseconds; undefined: not a duration, or longer than a year. */
export function parseDuration(text: string): number | undefined {
  if (!form.test(text)) return undefined;
  let ms = 0;
  for (const [, number, unit] of text.matchAll(part)) ms += Number(number) * (unitMs[unit ?? ""] ?? 0);
  const whole = Math.round(ms);
  return whole <= durationMsMax ? whole : undefined;
}

/** Two units at most: "850 ms", "12.3 s", "4m10s", "1h30m", "2d4h". */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Number(ms.toFixed(ms < 10 ? 1 : 0))} ms`;
  const seconds = ms / 1_000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3_600) return pair(whole, 60, "m", 1, "s");
  if (whole < 86_400) return pair(whole, 3_600, "h", 60, "m");
  return pair(whole, 86_400, "d", 3_600, "h");
}

function pair(seconds: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)}${largeUnit}${rest > 0 ? `${rest}${smallUnit}` : ""}`;
}
