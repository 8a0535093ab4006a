/** Server reflection, fed from the proto files themselves. */
import { fileURLToPath } from "node:url";
import type { Server } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";

const protoRoot = fileURLToPath(new URL("../../proto", import.meta.url));

const protoFiles = [
  "baton/v1/cluster.proto",
  "baton/v1/flow.proto",
  "baton/v1/inventory.proto",
  "baton/v1/node.proto",
  "baton/v1/remap.proto",
  "baton/v1/tracker.proto",
  "google/rpc/status.proto",
  "grpc/health/v1/health.proto",
];

/** Adds reflection for all of baton's services; the server itself may serve only some of them. */
export function addReflection(server: Server): void {
  new ReflectionService(loadSync(protoFiles, { includeDirs: [protoRoot], keepCase: true })).addToServer(server);
}
