/**
 * What the measuring client and the measured server say to each other, and what a test says to the client.
 *
 * Neither program imports anything of baton: they judge it.
 *
 * Streams of the server (every one but HTTP greets with the server's name and a newline):
 * - echo: sends back what it gets
 * - push: is sent "push <milliseconds>\n", then sends "<number>\n" at that rhythm, from 0 on
 * - upload: is sent the content of content.ts, answers "<bytes so far>\n" at least once every 64 KiB, and
 *   "bad <position>\n" at the first wrong byte
 * - http: GET /whoami (the name), GET /content?rate=<bytes/s, 0: as fast as it goes> with a Range, GET /push?every=<ms>
 *   with an upgrade to WebSocket: a text frame with the name, then frames with numbers from 0 on
 */

export const ports = { echo: 7000, push: 7001, upload: 7002, http: 8080 } as const;

/** Kinds of long connections. */
export const kinds = ["echo", "push", "websocket", "download", "upload"] as const;
export type Kind = (typeof kinds)[number];

export const portOf: Readonly<Record<Kind, number>> = {
  echo: ports.echo,
  push: ports.push,
  websocket: ports.http,
  download: ports.http,
  upload: ports.upload,
};

/** How the server tells how much of an upload arrived: at least that often, bytes. */
export const acknowledgeEveryBytes = 65_536;

export interface OpenCommand {
  readonly do: "open";
  readonly group: string;
  readonly kind: Kind;
  readonly to: string;
  readonly count: number;
  /** echo, push, websocket: milliseconds between two messages; 0 or none: an idle echo connection. */
  readonly intervalMs?: number;
  /** download, upload: bytes a second for each connection; 0 or none: as fast as it goes. */
  readonly bytesPerSecond?: number;
  /** The first one's local port; the others follow. None: the kernel chooses. */
  readonly fromPort?: number;
  /** Gives up on a connection that has not been greeted by then. */
  readonly timeoutMs?: number;
  /** Answer at once instead of when all are greeted or failed. */
  readonly eager?: boolean;
}

export type Command =
  | OpenCommand
  /** Idle echo connections exchange one message each; answers when all have, or have failed. */
  | { readonly do: "ping"; readonly group: string }
  /** Finishes politely: FIN, then the server's FIN. Answers when all of the group, or of its kind, are closed or failed. */
  | { readonly do: "close"; readonly group: string; readonly kind?: Kind }
  /** Ends without a word but RST. */
  | { readonly do: "reset"; readonly group: string }
  /** Silence is measured from here on. */
  | { readonly do: "mark" }
  /** One short HTTP connection after another, each with a new local port, until "rest". */
  | { readonly do: "visit"; readonly to: string; readonly everyMs: number }
  | { readonly do: "rest" }
  | { readonly do: "report"; readonly group?: string; readonly records?: boolean };

export type State = "connecting" | "open" | "closing" | "closed" | "failed";

/** What one connection saw. Times are CLOCK_MONOTONIC, milliseconds. */
export interface ConnectionRecord {
  readonly id: number;
  readonly group: string;
  readonly kind: Kind;
  readonly localPort: number;
  /** Name of the server at the other end, as it said itself. */
  readonly server: string;
  readonly state: State;
  readonly messages: number;
  /** Bytes that were received, or acknowledged, and found right. */
  readonly bytes: number;
  /** Longest time without a message beyond the connection's own rhythm, since the last mark. */
  readonly longestSilenceMs: number;
  readonly silentFromMs: number;
  readonly openedAtMs: number;
  readonly endedAtMs?: number;
  /** Why the state is "failed": "reset", "ended by the server", "sequence: 7 after 5", … */
  readonly failure?: string;
}

export interface KindSummary {
  readonly group: string;
  readonly kind: Kind;
  readonly count: number;
  readonly states: Readonly<Partial<Record<State, number>>>;
  readonly servers: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, number>>;
  readonly messages: number;
  readonly bytes: number;
  readonly longestSilenceMs: number;
}

/** One short HTTP connection. */
export interface Visit {
  readonly atMs: number;
  readonly tookMs: number;
  readonly server?: string;
  readonly failure?: string;
}

export interface Report {
  readonly nowMs: number;
  readonly kinds: readonly KindSummary[];
  readonly records: readonly ConnectionRecord[];
  readonly visits: readonly Visit[];
  /** The longest time by which the measuring process itself was late since the last mark: no silence below it counts. */
  readonly ownDelayMs: number;
}
