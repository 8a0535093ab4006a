/** How many bytes messages take on the wire, without encoding them; wire.ts keeps to it. */
import type { MemberAddress, MemberProfile } from "./member.ts";
import type { LoadReport, PacketMessage, StreamMessage, SyncEntry } from "./message.ts";

/** Count of the messages that follow. */
export const packetHeadBytes = 1;

/** Length of what follows, and its kind. */
export const messageHeadBytes = 3;
const streamHeadBytes = 1;
const loadBytes = 4 + 4 + 1;

export function messageBytes(message: PacketMessage): number {
  return messageHeadBytes + bodyBytes(message);
}

export function streamMessageBytes(message: StreamMessage): number {
  switch (message.kind) {
    case "stream-ping":
      return streamHeadBytes + 4 + textBytes(message.target);
    case "stream-ack":
      return streamHeadBytes + 4;
    case "sync-request": {
      const held = message.held === undefined ? 0 : textBytes(message.held.name) + 4 + 1;
      return streamHeadBytes + 1 + 4 * message.digests.length + 1 + held + entryBytes(message.self);
    }
    case "sync-reply":
      return streamHeadBytes + 1 + message.buckets.length + entriesBytes(message.entries);
    case "sync-finish":
      return streamHeadBytes + entriesBytes(message.entries);
    default:
      return message satisfies never;
  }
}

export function addressBytes(address: MemberAddress): number {
  return 1 + (address.startsWith("[") ? 16 : 4) + 2;
}

function bodyBytes(message: PacketMessage): number {
  switch (message.kind) {
    case "ping":
      return 4 + textBytes(message.target);
    case "indirect-ping":
      return 4 + textBytes(message.target) + addressBytes(message.targetAddress) + 1;
    case "ack":
    case "nack":
      return 4;
    case "alive":
      return 4 + profileBytes(message.profile);
    case "suspect":
    case "dead":
      return 4 + textBytes(message.name) + textBytes(message.from);
    case "loads":
      return 1 + message.reports.reduce((sum, report) => sum + reportBytes(report), 0);
    default:
      return message satisfies never;
  }
}

export function reportBytes(report: LoadReport): number {
  return textBytes(report.name) + loadBytes;
}

function entriesBytes(entries: readonly SyncEntry[]): number {
  return 2 + entries.reduce((sum, entry) => sum + entryBytes(entry), 0);
}

function entryBytes(entry: SyncEntry): number {
  return profileBytes(entry.profile) + 4 + 1 + loadBytes;
}

function profileBytes(profile: MemberProfile): number {
  return textBytes(profile.name) + addressBytes(profile.address) + 2 + profile.metadata.length + 3;
}

/** Names are ASCII. */
function textBytes(text: string): number {
  return 1 + text.length;
}
