/** The measured server's HTTP: /whoami, /content with ranges, and WebSocket push. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { pump } from "./pump.ts";
import { acceptKey, encodeFrame, Frames, opcodes } from "./websocket.ts";

export function createHttpServer(name: string): Server {
  const server = createServer({ keepAlive: true, noDelay: true }, (request, response) =>
    answer(name, request, response),
  );
  // Idle connections are what is measured: the server must not be the one who ends them.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  server.headersTimeout = 0;
  server.timeout = 0;
  server.on("upgrade", (request, socket) => pushFrames(name, request, socket));
  server.on("clientError", (_error, socket) => socket.destroy());
  return server;
}

function answer(name: string, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "/", "http://server");
  response.setHeader("x-server", name);
  if (url.pathname === "/whoami") return void response.end(`${name}\n`);
  const range = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(request.headers.range ?? "");
  const [from, last] = [Number(range?.[1]), Number(range?.[2])];
  if (url.pathname !== "/content" || !(from <= last)) {
    response.statusCode = url.pathname === "/content" ? 416 : 404;
    return void response.end();
  }
  response.writeHead(206, { "content-length": last + 1 - from, "content-range": `bytes ${from}-${last}/*` });
  const bytesPerSecond = Number(url.searchParams.get("rate") ?? 0);
  pump(response, { from, to: last + 1, bytesPerSecond, done: () => response.end() });
}

function pushFrames(name: string, request: IncomingMessage, socket: Duplex): void {
  const url = new URL(request.url ?? "/", "http://server");
  const key = request.headers["sec-websocket-key"];
  const everyMs = Number(url.searchParams.get("every") ?? Number.NaN);
  if (url.pathname !== "/push" || key === undefined || !(everyMs >= 1)) {
    return void socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  }
  const head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"];
  socket.write(`${[...head, `Sec-WebSocket-Accept: ${acceptKey(key)}`].join("\r\n")}\r\n\r\n`);
  const say = (text: string) => socket.write(encodeFrame(opcodes.text, Buffer.from(text)));
  say(name);
  let next = 0;
  const timer = setInterval(() => say(String(next++)), everyMs);
  const frames = new Frames();
  socket.on("data", (piece: Buffer) => {
    for (const frame of frames.push(piece)) {
      if (frame.opcode !== opcodes.close) continue;
      clearInterval(timer);
      socket.end(encodeFrame(opcodes.close, frame.payload));
    }
  });
  socket.on("end", () => socket.end());
  socket.on("error", () => socket.destroy());
  socket.on("close", () => clearInterval(timer));
}
