/**
 * Handlers of calls as plain async functions: a refusal is a returned value, an exception is a bug that the caller sees
 * as INTERNAL and the log sees whole.
 */
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceError,
} from "@grpc/grpc-js";
import { type DetailedError, fromServiceError, isServiceError, toServiceError } from "./errors.ts";

export interface CallContext {
  /** Aborts when the caller is gone or its deadline has passed. */
  readonly signal: AbortSignal;
  /** Milliseconds since the Unix epoch; Infinity: none. */
  readonly deadlineMs: number;
}

export type Reply<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: DetailedError };

/** A refusal in the middle of a stream, thrown by the generator. */
export class Refusal extends Error {
  readonly refusal: DetailedError;

  constructor(refusal: DetailedError) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

export type OnBug = (error: unknown) => void;

export function unaryHandler<Request, Response>(
  answer: (request: Request, context: CallContext) => Promise<Reply<Response>>,
  onBug: OnBug,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    answer(call.request, contextOf(call)).then(
      (reply) => (reply.ok ? callback(null, reply.value) : callback(toServiceError(reply.error))),
      (error: unknown) => callback(translate(error, onBug)),
    );
  };
}

export function streamHandler<Request, Response>(
  answer: (request: Request, context: CallContext) => AsyncIterable<Response>,
  onBug: OnBug,
): handleServerStreamingCall<Request, Response> {
  return (call) => {
    const context = contextOf(call);
    pump(call, answer(call.request, context), context.signal).then(
      () => call.end(),
      (error: unknown) => (context.signal.aborted ? call.end() : call.emit("error", translate(error, onBug))),
    );
  };
}

/** Takes the next message only when the last one has left, so a slow reader holds up nobody's memory. */
async function pump<T>(
  call: ServerWritableStream<unknown, T>,
  messages: AsyncIterable<T>,
  signal: AbortSignal,
): Promise<void> {
  for await (const message of messages) {
    if (signal.aborted) return;
    if (call.write(message)) continue;
    const { promise, resolve } = Promise.withResolvers<void>();
    const aborted = (): void => resolve();
    call.once("drain", resolve);
    signal.addEventListener("abort", aborted, { once: true });
    await promise;
    signal.removeEventListener("abort", aborted);
  }
}

function contextOf(call: ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>): CallContext {
  const controller = new AbortController();
  call.once("cancelled", () => controller.abort());
  if (call.cancelled) controller.abort();
  return { signal: controller.signal, deadlineMs: Number(call.getDeadline()) };
}

/** What another server has refused, or not answered, on the caller's behalf is told as it is. */
function translate(error: unknown, onBug: OnBug): ServiceError {
  if (error instanceof Refusal) return toServiceError(error.refusal);
  if (isServiceError(error)) return toServiceError(fromServiceError(error));
  onBug(error);
  return toServiceError({ code: "INTERNAL", message: "the server failed; its log names the cause" });
}
