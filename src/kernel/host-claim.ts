/** What an agent and a gateway make sure of before they touch a host: that they may, and that nobody else does. */
import { ServiceError } from "../runtime/service-error.ts";
import { requireNetworkCapabilities } from "./capabilities.ts";
import { lockHost } from "./host-lock.ts";
import { KernelError } from "./kernel-error.ts";

/**
 * @param service "agent vm-a"
 * @throws ServiceError, KernelError
 */
export async function claimHost(service: string): Promise<AsyncDisposable> {
  requireNetworkCapabilities();
  const claim = await lockHost(service);
  if (claim.ok) return claim.lock;
  throw new ServiceError(`${claim.holder}, works on this host's kernel already: stop it first`, 3);
}

/** A kernel that can't do, or does not allow, what a service needs is no bug of the service. */
export function explainKernelError(error: unknown): unknown {
  return error instanceof KernelError ? new ServiceError(error.message) : error;
}
