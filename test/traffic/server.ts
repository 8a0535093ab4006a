/**
 * The measured server: one process with all kinds of streams of protocol.ts.
 *
 *   node test/traffic/server.ts NAME [ADDRESS]     (ADDRESS: where it listens, default all)
 *
 * Prints {"ready":NAME} when it listens, and ends on SIGTERM or when stdin ends.
 */
import { createServer, type Server, type Socket } from "node:net";
import { firstDifference } from "./content.ts";
import { createHttpServer } from "./http-server.ts";
import { Lines } from "./lines.ts";
import { acknowledgeEveryBytes, ports } from "./protocol.ts";

const backlog = 4096;
const shortestIntervalMs = 1;
const longestIntervalMs = 3_600_000;

const [, , name, address] = process.argv;
if (name === undefined) {
  process.stderr.write("usage: server.ts NAME [ADDRESS]\n");
  process.exit(2);
}

const servers: [number, Server][] = [
  [ports.echo, streamServer(echo)],
  [ports.push, streamServer(push)],
  [ports.upload, streamServer(takeUpload)],
  [ports.http, createHttpServer(name)],
];
await Promise.all(servers.map(([port, server]) => listening(server, port)));
process.stdout.write(`${JSON.stringify({ ready: name })}\n`);
process.on("SIGTERM", () => process.exit(0));
process.stdin.on("end", () => process.exit(0)).resume();

function listening(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, backlog, ...(address === undefined ? {} : { host: address }) }, resolve);
  });
}

function streamServer(serve: (socket: Socket) => void): Server {
  return createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    // The client's record tells of broken connections; here they only must not end the process.
    socket.on("error", () => socket.destroy());
    socket.write(`${name}\n`);
    serve(socket);
  });
}

function echo(socket: Socket): void {
  socket.pipe(socket);
}

function push(socket: Socket): void {
  const lines = new Lines();
  let timer: NodeJS.Timeout | undefined;
  let next = 0;
  socket.on("data", (piece) => {
    for (const line of lines.push(piece)) {
      const intervalMs = Number(/^push (\d+)$/.exec(line)?.[1]);
      if (!(intervalMs >= shortestIntervalMs && intervalMs <= longestIntervalMs)) return void socket.destroy();
      clearInterval(timer);
      timer = setInterval(() => socket.write(`${next++}\n`), intervalMs);
    }
    return undefined;
  });
  socket.on("end", () => {
    clearInterval(timer);
    socket.end();
  });
  socket.on("close", () => clearInterval(timer));
}

function takeUpload(socket: Socket): void {
  let position = 0;
  let acknowledged = 0;
  socket.on("data", (piece) => {
    const wrong = firstDifference(piece, position);
    if (wrong !== undefined) return void socket.end(`bad ${wrong}\n`);
    position += piece.length;
    if (position - acknowledged >= acknowledgeEveryBytes) {
      acknowledged = position;
      socket.write(`${position}\n`);
    }
    return undefined;
  });
  socket.on("end", () => socket.end(`${position}\n`));
}
