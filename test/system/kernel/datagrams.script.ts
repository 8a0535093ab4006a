/** Sends one datagram to each of many ports: HOST FIRST_PORT COUNT. */
import { socketCalls } from "./sockets.ts";

const [host = "", firstPort, count] = process.argv.slice(2);
await socketCalls().sendDatagrams(host, Number(firstPort), Number(count));
