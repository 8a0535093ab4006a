import { Metadata, status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { errorCodes } from "../../../src/remap/error.ts";
import { causeOf, fromServiceError, isUnreachable, toServiceError, wasNeverSent } from "../../../src/rpc/errors.ts";

const plain = (code: status, details: string) =>
  Object.assign(new Error(`${code} X: ${details}`), { code, details, metadata: new Metadata() });

describe("an error on the wire", () => {
  it("keeps code, message and details", () => {
    for (const code of errorCodes) {
      const details = { leader: "unix:/run/c2.sock" };
      const received = fromServiceError(toServiceError({ code, message: "ask c2", details }));
      expect(received).toMatchObject({ code, message: "ask c2", details, stated: true });
    }
  });

  it("has the gRPC status that gRPC defines for its kind", () => {
    const statusOf = (code: (typeof errorCodes)[number]) => toServiceError({ code, message: "" }).code;
    expect(statusOf("NOT_LEADER")).toBe(status.UNAVAILABLE);
    expect(statusOf("UNKNOWN_ADDRESS")).toBe(status.NOT_FOUND);
    expect(statusOf("ADDRESS_EXISTS")).toBe(status.ALREADY_EXISTS);
    expect(statusOf("MTU_TOO_SMALL")).toBe(status.FAILED_PRECONDITION);
    expect(statusOf("INVALID_ARGUMENT")).toBe(status.INVALID_ARGUMENT);
  });

  it("is cut where it would not fit into the trailers", () => {
    expect(toServiceError({ code: "INTERNAL", message: "x".repeat(10_000) }).details).toHaveLength(2_000);
  });

  it("without baton's details is the nearest code, and not a stated one", () => {
    expect(fromServiceError(plain(status.UNIMPLEMENTED, "no method"))).toMatchObject({
      code: "UNSUPPORTED",
      stated: false,
    });
    expect(fromServiceError(new TypeError("x is undefined"))).toMatchObject({ code: "INTERNAL", stated: false });
  });

  it("ignores details that are damaged or another domain's", () => {
    const damaged = plain(status.UNAVAILABLE, "gone");
    damaged.metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff, 0xff]));
    expect(fromServiceError(damaged)).toMatchObject({ code: "STORE_UNAVAILABLE", stated: false });
  });

  it("of a server that refuses is told from silence", () => {
    expect(isUnreachable(fromServiceError(plain(status.UNAVAILABLE, "gone")))).toBe(true);
    expect(isUnreachable(fromServiceError(plain(status.DEADLINE_EXCEEDED, "late")))).toBe(true);
    expect(isUnreachable(fromServiceError(plain(status.CANCELLED, "the server ended")))).toBe(true);
    expect(isUnreachable(fromServiceError(toServiceError({ code: "STORE_UNAVAILABLE", message: "" })))).toBe(false);
    expect(isUnreachable(fromServiceError(plain(status.INTERNAL, "bug")))).toBe(false);
  });

  it("of a call that never left names the cause alone", () => {
    const received = fromServiceError(
      plain(status.UNAVAILABLE, "No connection established. Last error: Error: connect ENOENT /x. Resolution note: "),
    );
    expect(wasNeverSent(received)).toBe(true);
    expect(causeOf(received)).toBe("connect ENOENT /x");
    expect(wasNeverSent(fromServiceError(plain(status.UNAVAILABLE, "Connection dropped")))).toBe(false);
  });
});
