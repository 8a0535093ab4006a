/**
 * Requests whose bytes are no message of their type. grpc-js would end such a call as INTERNAL, as if the server had
 * failed; here the caller hears that its request was.
 */
import { ServerInterceptingCall, type ServerInterceptor, type ServiceDefinition } from "@grpc/grpc-js";
import { toServiceError } from "./errors.ts";

class Malformed {
  readonly why: string;

  constructor(error: unknown) {
    this.why = error instanceof Error ? error.message : String(error);
  }
}

/** The definition, with requests that can't be read passed on for {@link malformedRequests} to refuse. */
export function lenient(definition: ServiceDefinition): ServiceDefinition {
  const methods = Object.entries(definition).map(([name, method]) => {
    const requestDeserialize = (bytes: Buffer): unknown => {
      try {
        return method.requestDeserialize(bytes);
      } catch (error) {
        return new Malformed(error);
      }
    };
    return [name, { ...method, requestDeserialize }];
  });
  return Object.fromEntries(methods) as ServiceDefinition;
}

/** Ends the call before its handler has seen anything of such a request. */
export const malformedRequests: ServerInterceptor = ({ path }, call) =>
  new ServerInterceptingCall(call, {
    start: (next) =>
      next({
        onReceiveMessage: (message: unknown, pass: (message: unknown) => void) => {
          if (!(message instanceof Malformed)) return pass(message);
          const why = `the request is no message of ${path}: ${message.why}`;
          const { code, details, metadata } = toServiceError({ code: "INVALID_ARGUMENT", message: why });
          call.sendStatus({ code, details, metadata });
        },
      }),
  });
