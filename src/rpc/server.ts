/**
 * A gRPC server on TCP ports and unix sockets, with health and reflection beside its own services.
 *
 * Owns the socket files: one left behind by a dead process is removed, one in use is an error, and each goes when the
 * server ends.
 */
import { chmod, lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { listenFault } from "../runtime/listen-fault.ts";
import { ServiceError } from "../runtime/service-error.ts";
import { endpointForms, parseEndpoint } from "./endpoint.ts";
import { healthService } from "./health.ts";
import { keepaliveTimeMs, keepaliveTimeoutMs, messageBytesMax } from "./limits.ts";
import { lenient, malformedRequests } from "./malformed.ts";

export type Service = readonly [definition: ServiceDefinition, implementation: UntypedServiceImplementation];

export interface GrpcServerOptions {
  /** "host:port" (port 0: any free one) or "unix:PATH". */
  readonly endpoints: readonly string[];
  readonly services: readonly Service[];
  /** Ends the server as disposing does. */
  readonly signal: AbortSignal;
  /** What health says; without it: always serving. */
  readonly ready?: () => boolean;
}

export interface GrpcServer extends AsyncDisposable {
  /** Endpoints as bound, with the real port, in the order asked. */
  readonly endpoints: readonly string[];
}

/** For calls in progress to finish by themselves after the end was asked for. */
const shutdownGraceMs = 1_000;
/** Only root and its group may give orders through a socket file. */
const socketMode = 0o660;

/** Rejects when an endpoint can't be had; nothing is left bound then. */
export async function serveGrpc(options: GrpcServerOptions): Promise<GrpcServer> {
  const server = new Server({
    "grpc.max_receive_message_length": messageBytesMax,
    "grpc.max_send_message_length": messageBytesMax,
    "grpc.keepalive_time_ms": keepaliveTimeMs,
    "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
    interceptors: [malformedRequests],
  });
  for (const [definition, implementation] of options.services) server.addService(lenient(definition), implementation);
  server.addService(...healthService(serviceNames(options.services), options.ready ?? (() => true)));
  const { addReflection } = await import("./reflection.ts");
  addReflection(server);

  const end = onceOnly(() => shutDown(server));
  const bound: string[] = [];
  try {
    for (const endpoint of options.endpoints) bound.push(await bind(server, endpoint));
  } catch (error) {
    await end();
    throw error;
  }
  if (options.signal.aborted) await end();
  else options.signal.addEventListener("abort", () => void end(), { once: true });
  return { endpoints: bound, [Symbol.asyncDispose]: end };
}

function serviceNames(services: readonly Service[]): ReadonlySet<string> {
  const paths = services.flatMap(([definition]) => Object.values(definition).map((method) => method.path));
  return new Set(paths.map((path) => path.split("/")[1] ?? ""));
}

async function bind(server: Server, text: string): Promise<string> {
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined) throw new Error(`${text}: not an endpoint; expected ${endpointForms}`);
  if (endpoint.kind === "unix") await removeStaleSocket(endpoint.path);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(text, ServerCredentials.createInsecure(), (error, boundPort) => {
      if (error === null) resolve(boundPort);
      else reject(new ServiceError(listenFault("listen", text, error)));
    });
  });
  if (endpoint.kind === "tcp") return `${text.slice(0, text.lastIndexOf(":"))}:${port}`;
  await chmod(endpoint.path, socketMode);
  return text;
}

/** A socket file that nobody listens on any more is left behind by a process that was killed. */
async function removeStaleSocket(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats === undefined) return;
  if (!stats.isSocket())
    throw new ServiceError(`listen unix:${path}: something that is not a socket is there; choose another path`);
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (alive)
    throw new ServiceError(`listen unix:${path}: another process listens here; stop it or choose another path`);
  await unlink(path);
}

async function shutDown(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    server.forceShutdown();
    resolve();
  }, shutdownGraceMs);
  server.tryShutdown(() => resolve());
  await promise;
  clearTimeout(timer);
}

function onceOnly(action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => {
    running ??= action();
    return running;
  };
}
