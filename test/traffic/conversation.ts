/** What a client says on a connection of each kind, and what it expects to hear. */
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { monotonicMs } from "./clock.ts";
import { firstDifference } from "./content.ts";
import type { Ledger } from "./ledger.ts";
import { Lines } from "./lines.ts";
import { acknowledgeEveryBytes, type OpenCommand } from "./protocol.ts";
import { pump } from "./pump.ts";
import { acceptKey, encodeFrame, Frames, opcodes } from "./websocket.ts";

export interface Conversation {
  connected(): void;
  /** Throws when what arrived is not what should have arrived. */
  receive(piece: Buffer): void;
  /** Only an idle echo connection has something to say when it is told to. */
  ping?(): void;
  /** Says good-bye: after it, the server's FIN is expected. */
  finish(): void;
  /** Asked when the server's FIN came after our good-bye: what is missing, if anything is. */
  missing?(): string | undefined;
}

const unlimitedRangeBytes = 8 * 1024 * 1024;
const shortestRangeBytes = 16_384;
const longestHeadBytes = 16_384;
/** pump.ts writes that often. */
const pumpTickMs = 20;
const pingPadding = ".".repeat(48);

export function rhythmOf(command: OpenCommand): number {
  const rate = command.bytesPerSecond ?? 0;
  if (command.kind === "push" || command.kind === "websocket") return intervalOf(command);
  if (command.kind === "download") return rate > 0 ? pumpTickMs : 0;
  if (command.kind === "upload") return rate > 0 ? (acknowledgeEveryBytes / rate) * 1000 : 0;
  return 0;
}

export function converse(command: OpenCommand, socket: Socket, ledger: Ledger): Conversation {
  switch (command.kind) {
    case "echo":
      return echo(socket, ledger, command.intervalMs ?? 0);
    case "push":
      return push(socket, ledger, intervalOf(command));
    case "websocket":
      return websocket(socket, ledger, intervalOf(command));
    case "download":
      return download(socket, ledger, command.bytesPerSecond ?? 0);
    case "upload":
      return upload(socket, ledger, command.bytesPerSecond ?? 0);
    default:
      return command.kind satisfies never;
  }
}

function intervalOf(command: OpenCommand): number {
  return command.intervalMs ?? 20;
}

function echo(socket: Socket, ledger: Ledger, intervalMs: number): Conversation {
  const lines = new Lines();
  let greeted = false;
  let sent = 0;
  let returned = 0;
  let timer: NodeJS.Timeout | undefined;
  const ping = () => {
    if (returned < sent) return;
    ledger.await(monotonicMs());
    socket.write(`${sent++} ${pingPadding}\n`);
  };
  socket.once("close", () => clearInterval(timer));
  return {
    connected: () => undefined,
    ping,
    receive(piece) {
      for (const line of lines.push(piece)) {
        if (greeted) {
          if (line !== `${returned} ${pingPadding}` || returned >= sent) throw new Error(`echo: ${line.slice(0, 40)}`);
          returned++;
          ledger.heard(monotonicMs(), line.length + 1, false);
          continue;
        }
        greeted = true;
        ledger.greeted(line);
        if (intervalMs > 0) timer = setInterval(ping, intervalMs);
      }
    },
    finish() {
      clearInterval(timer);
      socket.end();
    },
    missing: () => (returned === sent ? undefined : `echo: ${sent - returned} not returned`),
  };
}

function push(socket: Socket, ledger: Ledger, intervalMs: number): Conversation {
  const lines = new Lines();
  const next = sequence(ledger);
  let greeted = false;
  return {
    connected: () => undefined,
    receive(piece) {
      for (const line of lines.push(piece)) {
        if (greeted) {
          next(line);
          continue;
        }
        greeted = true;
        ledger.greeted(line);
        ledger.await(monotonicMs());
        socket.write(`push ${intervalMs}\n`);
      }
    },
    finish: () => void socket.end(),
  };
}

function websocket(socket: Socket, ledger: Ledger, intervalMs: number): Conversation {
  const key = randomBytes(16).toString("base64");
  const head = new HttpHead();
  const frames = new Frames();
  const next = sequence(ledger);
  let greeted = false;
  const receiveFrames = (piece: Buffer) => {
    for (const frame of frames.push(piece)) {
      if (frame.opcode === opcodes.close) socket.end();
      else if (greeted) next(frame.payload.toString());
      else {
        greeted = true;
        ledger.greeted(frame.payload.toString());
        ledger.await(monotonicMs());
      }
    }
  };
  return {
    connected() {
      const lines = [`GET /push?every=${intervalMs} HTTP/1.1`, "Host: server", "Upgrade: websocket"];
      lines.push("Connection: Upgrade", "Sec-WebSocket-Version: 13", `Sec-WebSocket-Key: ${key}`);
      socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    },
    receive(piece) {
      if (head.complete) return receiveFrames(piece);
      const rest = head.push(piece);
      if (rest === undefined) return undefined;
      if (head.status !== 101 || head.field("sec-websocket-accept") !== acceptKey(key)) {
        throw new Error(`WebSocket: status ${head.status}`);
      }
      return receiveFrames(rest);
    },
    finish: () => void socket.write(encodeFrame(opcodes.close, Buffer.alloc(0), randomBytes(4))),
  };
}

function download(socket: Socket, ledger: Ledger, bytesPerSecond: number): Conversation {
  const rangeBytes =
    bytesPerSecond > 0 ? Math.max(shortestRangeBytes, Math.round(bytesPerSecond / 2)) : unlimitedRangeBytes;
  let head = new HttpHead();
  let position = 0;
  let end = 0;
  let finishing = false;
  const request = () => {
    if (finishing) return void socket.end();
    head = new HttpHead();
    end = position + rangeBytes;
    const lines = [`GET /content?rate=${bytesPerSecond} HTTP/1.1`, "Host: server"];
    socket.write(`${[...lines, `Range: bytes=${position}-${end - 1}`].join("\r\n")}\r\n\r\n`);
    return ledger.await(monotonicMs());
  };
  const receiveBody = (piece: Buffer) => {
    const wrong = firstDifference(piece, position);
    if (wrong !== undefined || position + piece.length > end) throw new Error(`content: wrong at ${wrong ?? end}`);
    position += piece.length;
    ledger.heard(monotonicMs(), piece.length, position < end);
    if (position === end) request();
  };
  return {
    connected: request,
    receive(piece) {
      const rest = head.complete ? piece : head.push(piece);
      if (rest === undefined) return;
      if (piece !== rest) {
        if (head.status !== 206 || head.field("content-length") !== String(rangeBytes)) {
          throw new Error(`HTTP: status ${head.status}`);
        }
        ledger.greeted(head.field("x-server") ?? "");
      }
      if (rest.length > 0) receiveBody(rest);
    },
    finish() {
      finishing = true;
    },
  };
}

function upload(socket: Socket, ledger: Ledger, bytesPerSecond: number): Conversation {
  const lines = new Lines();
  let greeted = false;
  let acknowledged = 0;
  let stop = () => 0;
  let sent = 0;
  return {
    connected: () => undefined,
    receive(piece) {
      for (const line of lines.push(piece)) {
        if (greeted) {
          const position = Number(line);
          if (!(position >= acknowledged)) throw new Error(`upload: ${line.slice(0, 40)}`);
          ledger.heard(monotonicMs(), position - acknowledged, true);
          acknowledged = position;
          continue;
        }
        greeted = true;
        ledger.greeted(line);
        ledger.await(monotonicMs());
        stop = pump(socket, { from: 0, to: Number.POSITIVE_INFINITY, bytesPerSecond });
      }
    },
    finish() {
      sent = stop();
      socket.end();
    },
    missing: () => (acknowledged === sent ? undefined : `upload: ${sent - acknowledged} bytes not acknowledged`),
  };
}

/** Expects 0, 1, 2, … */
function sequence(ledger: Ledger): (text: string) => void {
  let expected = 0;
  return (text) => {
    if (text !== String(expected)) throw new Error(`sequence: ${text.slice(0, 20)} after ${expected - 1}`);
    expected++;
    ledger.heard(monotonicMs(), text.length + 1, true);
  };
}

/** Collects the head of one HTTP response. */
export class HttpHead {
  #bytes: Buffer = Buffer.alloc(0);
  #lines: string[] | undefined;

  get complete(): boolean {
    return this.#lines !== undefined;
  }

  get status(): number {
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(this.#lines?.[0] ?? "")?.[1]);
  }

  field(name: string): string | undefined {
    const line = this.#lines?.find((text) => text.toLowerCase().startsWith(`${name}:`));
    return line?.slice(name.length + 1).trim();
  }

  /** What follows the head, once it is complete. */
  push(piece: Buffer): Buffer | undefined {
    this.#bytes = Buffer.concat([this.#bytes, piece]);
    const end = this.#bytes.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#bytes.length > longestHeadBytes) throw new Error("HTTP: an endless head");
      return undefined;
    }
    this.#lines = this.#bytes.toString("latin1", 0, end).split("\r\n");
    return this.#bytes.subarray(end + 4);
  }
}
