/** The thread that lists connections, when it ends by itself. */
import { describe, expect, it } from "vitest";
import { KernelListing } from "../../../src/kernel/listing.ts";
import { ip } from "../../support/fake-cluster.ts";

const visitor = { connections: () => undefined, sockets: () => undefined };

describe("a listing thread that has ended", () => {
  it("is told of, for nothing would ever be listed again", async () => {
    const failed = Promise.withResolvers<Error>();
    using listing = new KernelListing(failed.resolve);
    // An order that is none throws in the thread, as a bug of its would.
    const walk = listing.walk(null as unknown as ReturnType<typeof ip>, visitor);
    await expect(walk).rejects.toThrow();
    expect(await failed.promise).toBeInstanceOf(Error);
  });

  it("is not told of when it was disposed of", async () => {
    let failures = 0;
    const listing = new KernelListing(() => failures++);
    listing[Symbol.dispose]();
    await expect(listing.walk(ip("10.77.0.11"), visitor)).rejects.toThrow("not listed any more");
    expect(failures).toBe(0);
  });
});
