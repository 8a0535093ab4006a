/** Logs: one JSON object a line on standard output, with the service's kind and name in each. */
import { pino } from "pino";

export type { Logger } from "pino";

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LogOptions {
  /** Kind of service: agent, gateway, … */
  readonly service: string;
  /** Which one: vm-a, gw1, … */
  readonly name: string;
  readonly level?: LogLevel;
}

/** Writes are synchronous, so the last line before an exit is never lost. */
export function createLog(options: LogOptions) {
  return pino({
    level: options.level ?? "info",
    base: { service: options.service, name: options.name, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { error: pino.stdSerializers.err },
  });
}
