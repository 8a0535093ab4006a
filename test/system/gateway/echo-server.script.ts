/** Echoes: TCP bytes as they come, UDP datagrams with this server's name in front. Argument: the name. */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

const [name = ""] = process.argv.slice(2);
const port = 7000;

const udp = createSocket("udp4");
udp.on("message", (message, from) => udp.send(`${name} ${message.toString()}`, from.port, from.address));
udp.bind(port, () => {
  createServer((connection) => {
    connection.on("error", () => undefined);
    connection.pipe(connection);
  }).listen(port, () => console.log(JSON.stringify("listening")));
});
