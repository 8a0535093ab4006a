/**
 * A client's traffic until it is told to stop: numbered datagrams, each of which must be answered, and, where asked for, a
 * TCP connection whose bytes must come back in order. Arguments: the public address, "tcp" or "udp". Any line ends it;
 * the last line is the report.
 */
import { createSocket } from "node:dgram";
import { connect } from "node:net";

const [address = "", kind] = process.argv.slice(2);
const port = 7000;
const intervalMs = 1;
/** For the last answers. */
const graceMs = 2_000;

const unanswered = new Set<number>();
const byServer: Record<string, number> = {};
const sources = new Set<string>();
let sent = 0;
let tcpSent = 0;
let tcpReceived = 0;
let tcpFault = "";
let stopping = false;

const udp = createSocket("udp4");
udp.on("message", (message, from) => {
  const [server = "", number] = message.toString().split(" ");
  sources.add(from.address);
  if (unanswered.delete(Number(number))) byServer[server] = (byServer[server] ?? 0) + 1;
  if (stopping) finishWhenDone();
});

const tcp = kind === "tcp" ? connect(port, address, begin) : undefined;
tcp?.on("error", (error) => {
  tcpFault ||= error.message;
  finishWhenDone();
});
tcp?.on("data", (bytes) => {
  for (const byte of bytes) if (byte !== tcpReceived++ % 251) tcpFault ||= `byte ${tcpReceived} is wrong`;
  if (stopping) finishWhenDone();
});
if (tcp === undefined) udp.bind(begin);

function sendOne(): void {
  unanswered.add(sent);
  udp.send(String(sent++), port, address);
  if (tcp === undefined) return;
  const chunk = Uint8Array.from({ length: 1_000 }, (_, index) => (tcpSent + index) % 251);
  tcpSent += chunk.length;
  tcp.write(chunk);
}

function finishWhenDone(force = false): void {
  const whole = unanswered.size === 0 && tcpReceived === tcpSent;
  if (!force && !(stopping && whole) && tcpFault === "") return;
  const report = { sent, lost: unanswered.size, byServer, sources: [...sources], tcpSent, tcpReceived, tcpFault };
  console.log(JSON.stringify(report));
  process.exit(0);
}

function begin(): void {
  console.log(JSON.stringify("begun"));
  const timer = setInterval(sendOne, intervalMs);
  process.stdin.once("data", () => {
    clearInterval(timer);
    stopping = true;
    finishWhenDone();
    setTimeout(() => finishWhenDone(true), graceMs);
  });
}
