/** The standard health service, grpc.health.v1. */
import { type handleUnaryCall, type ServiceDefinition, status, type UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  HealthService,
} from "../gen/grpc/health/v1/health.ts";
import { sleep } from "../runtime/retry.ts";
import { type CallContext, streamHandler } from "./handler.ts";

/** How often a watched health is looked at again. */
const watchIntervalMs = 1_000;

/** `names` are the full names of the server's services; `ready` says whether it can do its work now. */
export function healthService(
  names: ReadonlySet<string>,
  ready: () => boolean,
): [ServiceDefinition, UntypedServiceImplementation] {
  const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;
  const statusOf = (service: string): HealthCheckResponse["status"] => {
    if (service !== "" && !names.has(service)) return SERVICE_UNKNOWN;
    return ready() ? SERVING : NOT_SERVING;
  };
  const check: handleUnaryCall<HealthCheckRequest, HealthCheckResponse> = ({ request }, callback) => {
    const state = statusOf(request.service);
    if (state !== SERVICE_UNKNOWN) callback(null, { status: state });
    else callback({ code: status.NOT_FOUND, details: `this server has no service ${request.service}` });
  };
  async function* watch({ service }: HealthCheckRequest, { signal }: CallContext): AsyncGenerator<HealthCheckResponse> {
    let last: HealthCheckResponse["status"] | undefined;
    for (;;) {
      const current = statusOf(service);
      if (current !== last) yield { status: current };
      last = current;
      await sleep(watchIntervalMs, signal);
    }
  }
  const onBug = (error: unknown): void => {
    throw error;
  };
  return [HealthService, { check, watch: streamHandler(watch, onBug) }];
}
