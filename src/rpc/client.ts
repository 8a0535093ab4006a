/**
 * Calls to a gRPC server: bounded in time and size, ended by a signal. What a call throws is grpc-js's ServiceError, to be
 * read by `fromServiceError`, or the abort reason.
 */
import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { endpointForms, parseEndpoint } from "./endpoint.ts";
import { keepaliveTimeMs, keepaliveTimeoutMs, messageBytesMax } from "./limits.ts";

/** A client class of src/gen. */
export interface ClientConstructor<C extends Client> {
  new (address: string, channelCredentials: ChannelCredentials, options?: Partial<ClientOptions>): C;
  readonly serviceName: string;
}

const reconnectInitialMs = 100;
const reconnectMaxMs = 2_000;

/** A client with its own connection; `close()` it. Throws on an endpoint that is none. */
export function dial<C extends Client>(
  Constructor: ClientConstructor<C>,
  endpoint: string,
  options: Partial<ClientOptions> = {},
): C {
  if (parseEndpoint(endpoint) === undefined) throw new Error(`${endpoint}: not an endpoint; expected ${endpointForms}`);
  return new Constructor(endpoint, credentials.createInsecure(), {
    "grpc.max_receive_message_length": messageBytesMax,
    "grpc.max_send_message_length": messageBytesMax,
    "grpc.keepalive_time_ms": keepaliveTimeMs,
    "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
    "grpc.initial_reconnect_backoff_ms": reconnectInitialMs,
    "grpc.max_reconnect_backoff_ms": reconnectMaxMs,
    "grpc.use_local_subchannel_pool": 1,
    ...options,
  });
}

type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

type StreamMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
) => ClientReadableStream<Response>;

/** Names of the client's methods with this shape. */
type MethodName<C, Shape> = { [Name in keyof C]: C[Name] extends Shape ? Name : never }[keyof C];
// biome-ignore lint/suspicious/noExplicitAny: only the shape matters here; UnaryTypes and StreamTypes tell the rest.
export type UnaryMethodName<C> = MethodName<C, UnaryMethod<any, any>>;
// biome-ignore lint/suspicious/noExplicitAny: as above.
export type StreamMethodName<C> = MethodName<C, StreamMethod<any, any>>;
export type UnaryTypes<Method> =
  Method extends UnaryMethod<infer Request, infer Response> ? [Request, Response] : never;
export type StreamTypes<Method> =
  Method extends StreamMethod<infer Request, infer Response> ? [Request, Response] : never;

export interface CallBounds {
  readonly signal: AbortSignal;
  readonly deadlineMs: number;
}

/** `unary(client, "getRemap", { id }, { signal, deadlineMs })` */
export async function unary<C extends Client, Name extends UnaryMethodName<C>>(
  client: C,
  method: Name,
  request: UnaryTypes<C[Name]>[0],
  { signal, deadlineMs }: CallBounds,
): Promise<UnaryTypes<C[Name]>[1]> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<UnaryTypes<C[Name]>[1]>();
  const invoke = client[method] as UnaryMethod<unknown, UnaryTypes<C[Name]>[1]>;
  const call = invoke.call(
    client,
    request,
    new Metadata(),
    { deadline: Date.now() + deadlineMs },
    (error, response) => {
      if (error === null) resolve(response);
      else reject(signal.aborted ? signal.reason : error);
    },
  );
  const cancel = (): void => call.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

/** Messages of a server stream until it ends. Leaving the loop cancels the call; without `deadlineMs` it may last. */
export async function* serverStream<C extends Client, Name extends StreamMethodName<C>>(
  client: C,
  method: Name,
  request: StreamTypes<C[Name]>[0],
  { signal, deadlineMs }: { readonly signal: AbortSignal; readonly deadlineMs?: number },
): AsyncGenerator<StreamTypes<C[Name]>[1], void, undefined> {
  signal.throwIfAborted();
  const invoke = client[method] as StreamMethod<unknown, StreamTypes<C[Name]>[1]>;
  const deadline = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
  const call = invoke.call(client, request, new Metadata(), deadline);
  const cancel = (): void => call.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    for await (const message of call) yield message as StreamTypes<C[Name]>[1];
    signal.throwIfAborted();
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", cancel);
    call.cancel();
  }
}
