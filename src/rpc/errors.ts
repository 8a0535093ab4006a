/**
 * Errors at the edge of a call: a {@link BatonError} becomes a gRPC status with google.rpc.ErrorInfo in the trailer
 * `grpc-status-details-bin`, and the other way round. Nothing else of an error crosses the wire.
 */
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { ErrorInfo, Status } from "../gen/google/rpc/status.ts";
import { type BatonError, type ErrorCode, errorCodes } from "../remap/error.ts";
import { errorMessageCharactersMax } from "./limits.ts";

const domain = "baton";
const detailsTrailer = "grpc-status-details-bin";
const errorInfoType = "type.googleapis.com/google.rpc.ErrorInfo";

export type ErrorDetails = Readonly<Record<string, string>>;

/**
 * A BatonError, and what else a refusal carries: NOT_LEADER has `leader`, the endpoint to ask instead; SHARD_MOVED has that
 * too, and like LAYOUT_CHANGED `epoch`, the number of the assignment that the refusing tracker goes by.
 */
export interface DetailedError extends BatonError {
  readonly details?: ErrorDetails;
}

export interface ReceivedError extends BatonError {
  /** gRPC status code. */
  readonly grpcCode: number;
  readonly details: ErrorDetails;
  /** The server gave the code itself. False: it is a guess from the gRPC status. */
  readonly stated: boolean;
}

/** Which gRPC status each code is sent with. */
const statusOf: Record<ErrorCode, status> = {
  INVALID_ARGUMENT: status.INVALID_ARGUMENT,
  UNKNOWN_ADDRESS: status.NOT_FOUND,
  UNKNOWN_INSTANCE: status.NOT_FOUND,
  UNKNOWN_GATEWAY: status.NOT_FOUND,
  UNKNOWN_REMAP: status.NOT_FOUND,
  UNKNOWN_PRIVATE: status.NOT_FOUND,
  ADDRESS_EXISTS: status.ALREADY_EXISTS,
  ADDRESS_BUSY: status.FAILED_PRECONDITION,
  PRIVATE_IN_USE: status.FAILED_PRECONDITION,
  NO_FREE_PRIVATE: status.FAILED_PRECONDITION,
  SOURCE_IS_TARGET: status.FAILED_PRECONDITION,
  INSTANCE_DOWN: status.FAILED_PRECONDITION,
  GATEWAY_DOWN: status.FAILED_PRECONDITION,
  REMAP_IN_PROGRESS: status.FAILED_PRECONDITION,
  MTU_TOO_SMALL: status.FAILED_PRECONDITION,
  CHANNEL_UNPROVEN: status.FAILED_PRECONDITION,
  CHANNEL_UNAVAILABLE: status.FAILED_PRECONDITION,
  WRONG_PHASE: status.FAILED_PRECONDITION,
  NODE_HELD_BACK: status.FAILED_PRECONDITION,
  NO_OFFLINE_HOOK: status.FAILED_PRECONDITION,
  ABORTED_BY_OPERATOR: status.FAILED_PRECONDITION,
  UNKNOWN_MEMBER: status.NOT_FOUND,
  NOTHING_TO_MOVE: status.FAILED_PRECONDITION,
  SHARD_BEHIND: status.FAILED_PRECONDITION,
  LIMIT_EXCEEDED: status.RESOURCE_EXHAUSTED,
  UNSUPPORTED: status.UNIMPLEMENTED,
  NODE_TIMEOUT: status.DEADLINE_EXCEEDED,
  NODE_FAILED: status.ABORTED,
  TRACKER_BEHIND: status.DEADLINE_EXCEEDED,
  NOT_LEADER: status.UNAVAILABLE,
  SHARD_MOVED: status.UNAVAILABLE,
  LAYOUT_CHANGED: status.UNAVAILABLE,
  STORE_UNAVAILABLE: status.UNAVAILABLE,
  INTERNAL: status.INTERNAL,
};

/** The status that a handler ends its call with. */
export function toServiceError(error: DetailedError): ServiceError {
  const code = statusOf[error.code];
  const message = error.message.slice(0, errorMessageCharactersMax);
  const info = ErrorInfo.encode({ reason: error.code, domain, metadata: { ...error.details } }).finish();
  const encoded = Status.encode({
    code,
    message,
    details: [{ typeUrl: errorInfoType, value: Buffer.from(info) }],
  }).finish();
  const metadata = new Metadata();
  metadata.set(detailsTrailer, Buffer.from(encoded));
  return Object.assign(new Error(message), { code, details: message, metadata });
}

/** What a failed call says. An error without baton's details keeps its gRPC code, with the nearest of our codes. */
export function fromServiceError(error: unknown): ReceivedError {
  if (!isServiceError(error))
    return { code: "INTERNAL", message: messageOf(error), grpcCode: status.UNKNOWN, details: {}, stated: false };
  const info = readErrorInfo(error.metadata);
  return {
    code: info?.code ?? nearestCode(error.code),
    message: error.details || error.message,
    grpcCode: error.code,
    details: info?.details ?? {},
    stated: info !== undefined,
  };
}

/** A server that ends cancels its calls: a caller that did not cancel has lost it. */
const lossCodes: ReadonlySet<number> = new Set([status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED]);

/** Nobody answered: no connection, a lost one, or silence until the deadline. What the call asked for may have happened. */
export function isUnreachable(error: ReceivedError): boolean {
  return !error.stated && lossCodes.has(error.grpcCode);
}

/** No connection was had, so the server knows nothing of the call. grpc-js tells this by its message alone. */
export function wasNeverSent(error: ReceivedError): boolean {
  return isUnreachable(error) && error.message.startsWith("No connection established");
}

/** The message without what grpc-js wraps around it. */
export function causeOf(error: ReceivedError): string {
  return /Last error: (?:Error: )?(.+?)\.? Resolution note:/.exec(error.message)?.[1] ?? error.message;
}

/** What grpc-js says of a deadline that passed, for waits that it doesn't bound itself. */
export function silence(waitedMs: number): ServiceError {
  const message = `no answer within ${waitedMs} ms`;
  return Object.assign(new Error(message), {
    code: status.DEADLINE_EXCEEDED,
    details: message,
    metadata: new Metadata(),
  });
}

export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number" && "metadata" in error;
}

function readErrorInfo(metadata: Metadata): { code: ErrorCode; details: ErrorDetails } | undefined {
  const [encoded] = metadata.get(detailsTrailer);
  if (!(encoded instanceof Buffer)) return undefined;
  try {
    for (const detail of Status.decode(encoded).details) {
      if (detail.typeUrl !== errorInfoType) continue;
      const info = ErrorInfo.decode(detail.value);
      const code = errorCodes.find((known) => known === info.reason);
      if (info.domain === domain && code !== undefined) return { code, details: info.metadata };
    }
  } catch {
    return undefined;
  }
  return undefined;
}

function nearestCode(code: status): ErrorCode {
  switch (code) {
    case status.INVALID_ARGUMENT:
    case status.OUT_OF_RANGE:
      return "INVALID_ARGUMENT";
    case status.UNIMPLEMENTED:
      return "UNSUPPORTED";
    case status.RESOURCE_EXHAUSTED:
      return "LIMIT_EXCEEDED";
    case status.UNAVAILABLE:
      return "STORE_UNAVAILABLE";
    case status.DEADLINE_EXCEEDED:
      return "NODE_TIMEOUT";
    default:
      return "INTERNAL";
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
