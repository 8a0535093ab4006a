/** The admin port of a service: metrics, liveness, readiness. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";
import { listenFault } from "./listen-fault.ts";
import { ServiceError } from "./service-error.ts";

export interface AdminOptions {
  /** Port 0: any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Why the service is not ready, one reason each; empty: it is. */
  readonly ready: () => readonly string[];
  readonly registry: Registry;
}

export interface AdminServer extends AsyncDisposable {
  readonly port: number;
}

/** Slow or idle clients are cut off after this. */
const requestTimeoutMs = 5_000;

/** Rejects with a ServiceError when the port can't be had. */
export async function serveAdmin(options: AdminOptions): Promise<AdminServer> {
  const server = createServer({ requestTimeout: requestTimeoutMs }, (request, response) => {
    answer(options, request.method ?? "", request.url ?? "", response).catch((error: unknown) => {
      send(response, 500, `${error instanceof Error ? error.message : String(error)}\n`);
    });
  });
  await new Promise<void>((resolve, reject) => {
    const { host, port } = options.listen;
    const fail = (error: Error): void =>
      reject(new ServiceError(listenFault("admin.listen", `${host}:${port}`, error)));
    server.once("error", fail);
    server.listen(port, host, () => {
      server.off("error", fail);
      resolve();
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function answer(options: AdminOptions, method: string, url: string, response: ServerResponse): Promise<void> {
  if (method !== "GET" && method !== "HEAD") return send(response, 405, "only GET and HEAD\n");
  switch (url.split("?", 1)[0]) {
    case "/metrics":
      return send(response, 200, await options.registry.metrics(), options.registry.contentType);
    case "/healthz":
      return send(response, 200, "alive\n");
    case "/readyz": {
      const reasons = options.ready();
      if (reasons.length === 0) return send(response, 200, "ready\n");
      return send(response, 503, reasons.map((reason) => `not ready: ${reason}\n`).join(""));
    }
    default:
      return send(response, 404, "try /metrics, /healthz or /readyz\n");
  }
}

function send(response: ServerResponse, status: number, body: string, type = "text/plain; charset=utf-8"): void {
  response.writeHead(status, { "content-type": type });
  response.end(body);
}
