/**
 * A stretch of slow network: passes TCP on, each piece so much later, both ways. Prints a line once it listens.
 *
 *   node delay.script.ts HOST PORT TARGET_PORT MILLISECONDS
 */
import { connect, createServer, type Socket } from "node:net";

const [host = "", port, targetPort, delayMs] = process.argv.slice(2);

function passOn(from: Socket, to: Socket): void {
  const later = (action: () => void) => void setTimeout(action, Number(delayMs));
  from.on("data", (piece) => later(() => to.write(piece)));
  from.on("end", () => later(() => to.end()));
  from.on("close", () => later(() => to.destroy()));
  from.on("error", () => to.destroy());
}

const server = createServer({ allowHalfOpen: true }, (near) => {
  const far = connect({ host, port: Number(targetPort), allowHalfOpen: true });
  passOn(near, far);
  passOn(far, near);
});
server.listen(Number(port), host, () => process.stdout.write("listening\n"));
