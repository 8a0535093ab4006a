/** Asks one tracker which tracker holds which shard. */
import { TrackerServiceClient } from "../gen/baton/v1/tracker.ts";
import type { Assignment } from "../placement/assignment.ts";
import { type CallBounds, dial, unary } from "./client.ts";
import { readAssignment } from "./flow-codec.ts";

/** Throws grpc-js's ServiceError, or the abort reason. */
export async function askAssignment(endpoint: string, bounds: CallBounds): Promise<Assignment> {
  const client = dial(TrackerServiceClient, endpoint);
  try {
    return readAssignment(await unary(client, "getAssignment", {}, bounds));
  } finally {
    client.close();
  }
}
