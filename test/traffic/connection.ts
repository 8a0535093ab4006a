/** One connection of the measuring client, from its SYN to its end. It never connects again by itself. */
import { connect, type Socket } from "node:net";
import { monotonicMs } from "./clock.ts";
import { type Conversation, converse, rhythmOf } from "./conversation.ts";
import { Ledger } from "./ledger.ts";
import { type ConnectionRecord, type Kind, type OpenCommand, portOf } from "./protocol.ts";

const defaultTimeoutMs = 15_000;
/** After our FIN the server's must have come by then. */
const goodbyeMs = 15_000;

export class Connection {
  readonly group: string;
  readonly kind: Kind;
  readonly #ledger: Ledger;
  readonly #socket: Socket;
  readonly #conversation: Conversation;
  #deadline: NodeJS.Timeout | undefined;
  #waiting: (() => void)[] = [];

  constructor(id: number, command: OpenCommand, index: number) {
    this.group = command.group;
    this.kind = command.kind;
    this.#ledger = new Ledger(
      { id, group: command.group, kind: command.kind, rhythmMs: rhythmOf(command) },
      monotonicMs(),
    );
    this.#socket = connect({
      host: command.to,
      port: portOf[command.kind],
      noDelay: true,
      ...(command.fromPort === undefined ? {} : { localPort: command.fromPort + index }),
    });
    this.#conversation = converse(command, this.#socket, this.#ledger);
    const timeoutMs = command.timeoutMs ?? defaultTimeoutMs;
    this.#setDeadline(timeoutMs, "not greeted in time");
    this.#listen();
  }

  get settled(): boolean {
    return this.#ledger.state === "open" || this.#ledger.ended;
  }

  get ended(): boolean {
    return this.#ledger.ended;
  }

  /** Idle: nothing is awaited. Resolves when `condition` is true, which is asked after every change. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves when the answer came, or the connection ended. */
  async ping(): Promise<void> {
    const before = this.record().messages;
    if (this.#ledger.state === "open") this.#conversation.ping?.();
    await this.until(() => this.ended || this.record().messages > before);
  }

  async close(): Promise<void> {
    if (this.#ledger.state === "open") {
      this.#ledger.closing();
      this.#setDeadline(goodbyeMs, "no good-bye from the server");
      this.#conversation.finish();
    } else if (this.#ledger.state === "connecting") {
      this.#end("closed before it was greeted");
    }
    await this.until(() => this.ended);
  }

  reset(): void {
    if (this.ended) return;
    this.#ledger.end(monotonicMs(), undefined);
    this.#socket.resetAndDestroy();
    this.#changed();
  }

  mark(): void {
    this.#ledger.mark();
  }

  record(): ConnectionRecord {
    return this.#ledger.record(monotonicMs());
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on("connect", () => {
      this.#ledger.connected(socket.localPort ?? 0);
      this.#conversation.connected();
    });
    socket.on("data", (piece) => {
      const before = this.#ledger.state;
      try {
        this.#conversation.receive(piece);
      } catch (error) {
        this.#end(error instanceof Error ? error.message : String(error));
      }
      if (before === "connecting" && this.#ledger.state === "open") clearTimeout(this.#deadline);
      this.#changed();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => this.#end(reasonOf(error)));
    socket.on("end", () => {
      this.#end(this.#ledger.state === "closing" ? this.#conversation.missing?.() : "ended by the server");
    });
    socket.on("close", () => this.#end(undefined));
  }

  #setDeadline(afterMs: number, failure: string): void {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#end(failure), afterMs);
  }

  #end(failure: string | undefined): void {
    clearTimeout(this.#deadline);
    if (this.ended) return;
    this.#ledger.end(monotonicMs(), failure);
    if (failure !== undefined) this.#socket.destroy();
    this.#changed();
  }

  #changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === "ECONNRESET" || error.code === "EPIPE") return "reset";
  if (error.code === "ECONNREFUSED") return "refused";
  return error.code ?? error.message;
}
