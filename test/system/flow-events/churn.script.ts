/**
 * Connections that come and go: `serve PORT`, or `connect ADDRESS PORT PER_SECOND HELD`. A line on standard input stops
 * the coming and going; those that are open stay. SIGTERM ends them with the program.
 */
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";

const [role, ...args] = process.argv.slice(2);
const tickMs = 20;

if (role === "serve") {
  const server = createServer({ allowHalfOpen: false }, (socket) => socket.on("error", () => undefined).resume());
  server.listen(Number(args[0]), "0.0.0.0", () => process.stdout.write("listening\n"));
} else {
  const [address = "", port, perSecond, held] = args;
  churn(address, Number(port), Math.ceil((Number(perSecond) * tickMs) / 1_000), Number(held));
}

function churn(address: string, port: number, perTick: number, held: number): void {
  const open = new Set<Socket>();
  const timer = setInterval(() => {
    for (let n = 0; n < perTick; n++) {
      const socket = connect(port, address);
      socket.once("connect", () => open.add(socket));
      socket.on("error", () => undefined).once("close", () => open.delete(socket));
      socket.resume();
    }
    for (const socket of [...open].slice(0, Math.max(0, open.size - held))) {
      open.delete(socket);
      if (Math.random() < 0.2) socket.resetAndDestroy();
      else socket.end();
    }
  }, tickMs);
  process.stdout.write("churning\n");
  createInterface({ input: process.stdin }).once("line", () => {
    clearInterval(timer);
    process.stdout.write("still\n");
  });
}
