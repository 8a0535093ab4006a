/** gRPC calls byte by byte, as no client library would make them. */
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";

export interface RawCall {
  /** "/baton.v1.RemapService/CreateRemap" */
  readonly path: string;
  /** What is sent as the request's body, frames and all. */
  readonly body: Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RawAnswer {
  /** Of HTTP. */
  readonly http: number;
  /** Of gRPC; undefined: the stream ended without one. */
  readonly status: number | undefined;
  readonly message: string;
}

const answerTimeoutMs = 10_000;

/** A message as it travels: one byte for compression, four for its length. */
export function framed(message: Uint8Array, { compressed = false, length = message.length } = {}): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed ? 1 : 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

/** `endpoint`: host:port. */
export async function callRaw(endpoint: string, { path, body, headers }: RawCall): Promise<RawAnswer> {
  const session = connectHttp2(`http://${endpoint}`);
  try {
    return await new Promise<RawAnswer>((resolve, reject) => {
      const answer = { http: 0, status: undefined as number | undefined, message: "" };
      const note = (received: Readonly<Record<string, unknown>>): void => {
        if (received[":status"] !== undefined) answer.http = Number(received[":status"]);
        if (received["grpc-status"] !== undefined) answer.status = Number(received["grpc-status"]);
        answer.message = decodeURIComponent(String(received["grpc-message"] ?? answer.message));
      };
      session.on("error", reject);
      session.setTimeout(answerTimeoutMs, () => reject(new Error(`${path}: no answer within ${answerTimeoutMs} ms`)));
      const common = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
      const stream = session.request({ ...common, ...headers });
      stream.on("response", note);
      stream.on("trailers", note);
      // The server may end the stream before it has read all of a request that is too large.
      stream.on("error", () => undefined);
      stream.on("close", () => resolve(answer));
      stream.resume();
      stream.end(body);
    });
  } finally {
    session.destroy();
  }
}

/** Opens so many calls at once, and takes each back before it is answered. */
export async function openAndReset(endpoint: string, path: string, count: number): Promise<void> {
  const session = connectHttp2(`http://${endpoint}`);
  session.on("error", () => undefined);
  const closed = Array.from({ length: count }, () => {
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc" });
    stream.on("error", () => undefined);
    stream.close(8);
    return new Promise<void>((resolve) => stream.once("close", () => resolve()));
  });
  await Promise.all(closed);
  session.destroy();
}

/** Sends bytes that are no HTTP/2, and resolves when the server hangs up. */
export async function sendBytes(endpoint: string, bytes: Uint8Array): Promise<void> {
  const at = endpoint.lastIndexOf(":");
  const socket = connectTcp(Number(endpoint.slice(at + 1)), endpoint.slice(0, at));
  await new Promise<void>((resolve) => {
    socket.on("error", () => undefined);
    socket.once("close", () => resolve());
    socket.setTimeout(answerTimeoutMs, () => socket.destroy());
    socket.resume();
    socket.write(bytes);
    socket.end();
  });
}
