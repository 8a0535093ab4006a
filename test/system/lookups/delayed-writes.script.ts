/**
 * Stands before a server and passes on what is written to it so much later; answers come back at once. Prints a line once
 * it listens.
 *
 *   node delayed-writes.script.ts HOST PORT TARGET_PORT MILLISECONDS
 */
import { connect, createServer } from "node:net";

const [host = "", port, targetPort, delayMs] = process.argv.slice(2);

const server = createServer((near) => {
  const far = connect({ host, port: Number(targetPort) });
  const later = (action: () => void) => void setTimeout(action, Number(delayMs));
  near.on("data", (piece) => later(() => far.write(piece)));
  near.on("close", () => later(() => far.destroy()));
  near.on("error", () => near.destroy());
  far.pipe(near);
  far.on("error", () => near.destroy());
});
server.listen(Number(port), host, () => process.stdout.write("listening\n"));
