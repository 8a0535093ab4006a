/** Asks a server for its health. */
import { HealthCheckResponse_ServingStatus, HealthClient } from "../gen/grpc/health/v1/health.ts";
import { type CallBounds, dial, unary } from "./client.ts";
import { causeOf, fromServiceError } from "./errors.ts";

export type Health =
  | { readonly ok: true; readonly serving: boolean }
  /** Nobody could be asked. */
  | { readonly ok: false; readonly message: string };

export async function checkHealth(endpoint: string, bounds: CallBounds): Promise<Health> {
  const client = dial(HealthClient, endpoint);
  try {
    const { status } = await unary(client, "check", { service: "" }, bounds);
    return { ok: true, serving: status === HealthCheckResponse_ServingStatus.SERVING };
  } catch (error) {
    bounds.signal.throwIfAborted();
    return { ok: false, message: causeOf(fromServiceError(error)) };
  } finally {
    client.close();
  }
}
