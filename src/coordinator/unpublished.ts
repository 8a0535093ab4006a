/**
 * What a leader that crashed has stored and not published, as the streams tell: ends of remaps, and actions of operators.
 *
 * Only the newest of each are looked up, far more than can have waited when a leader dies. Remaps that are open need no
 * look-up: their present phase is told again by every leader.
 */
import type { Bus } from "../bus/bus.ts";
import type { EndedRemap, StoredAudit } from "./ports.ts";
import { auditStreamName, remapStreamName, remapSubject } from "./remap-feed.ts";

type StreamReader = Pick<Bus, "lastSequence" | "messageAt" | "streamRange">;

const remapsCheckedMax = 100;
const auditsCheckedMax = 100;
/** Newest messages of the audit among which those are sought. */
const auditMessagesReadMax = 1_000n;

/** Of remaps that have ended, oldest first, those whose end was not published. Throws {@link BusError}. */
export async function unpublishedEnds(
  bus: StreamReader,
  ended: readonly EndedRemap[],
  signal: AbortSignal,
): Promise<readonly EndedRemap[]> {
  const missing: EndedRemap[] = [];
  for (const candidate of ended.slice(-remapsCheckedMax)) {
    const { id, phase } = candidate.remap;
    const sequence = await bus.lastSequence(remapStreamName, remapSubject(id), signal);
    const last = sequence === 0n ? undefined : await bus.messageAt(remapStreamName, sequence, signal);
    if (last === undefined || fieldOf(last.data, "phase") !== phase) missing.push(candidate);
  }
  return missing;
}

/** Of actions, oldest first, those that were not published. Throws {@link BusError}. */
export async function unpublishedAudits(
  bus: StreamReader,
  audits: readonly StoredAudit[],
  signal: AbortSignal,
): Promise<readonly StoredAudit[]> {
  const missing = new Map(audits.slice(-auditsCheckedMax).map((audit) => [audit.key, audit]));
  if (missing.size === 0) return [];
  const { first, last } = await bus.streamRange(auditStreamName, signal);
  const oldest = first > last - auditMessagesReadMax ? first : last - auditMessagesReadMax + 1n;
  for (let sequence = last; sequence >= oldest && missing.size > 0; sequence--) {
    const message = await bus.messageAt(auditStreamName, sequence, signal);
    if (message !== undefined) missing.delete(fieldOf(message.data, "record"));
  }
  return [...missing.values()];
}

/** Undefined: the message has no such text, or another version has written it. */
function fieldOf(data: Uint8Array, field: string): string | undefined {
  try {
    const value = (JSON.parse(new TextDecoder().decode(data)) as Readonly<Record<string, unknown>> | null)?.[field];
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
