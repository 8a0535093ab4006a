/** The standard health service, grpc.health.v1. */
import type { ServiceDefinition, UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  HealthService,
} from "../gen/grpc/health/v1/health.ts";
import { sleep } from "../runtime/retry.ts";
import { type CallContext, type Reply, streamHandler, unaryHandler } from "./handler.ts";

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
  const check = async ({ service }: HealthCheckRequest): Promise<Reply<HealthCheckResponse>> => {
    const status = statusOf(service);
    if (status !== SERVICE_UNKNOWN) return { ok: true, value: { status } };
    return { ok: false, error: { code: "UNKNOWN_INSTANCE", message: `this server has no service ${service}` } };
  };
  async function* watch({ service }: HealthCheckRequest, { signal }: CallContext): AsyncGenerator<HealthCheckResponse> {
    let last: HealthCheckResponse["status"] | undefined;
    for (;;) {
      const status = statusOf(service);
      if (status !== last) yield { status };
      last = status;
      await sleep(watchIntervalMs, signal);
    }
  }
  const onBug = (error: unknown): void => {
    throw error;
  };
  return [HealthService, { check: unaryHandler(check, onBug), watch: streamHandler(watch, onBug) }];
}
