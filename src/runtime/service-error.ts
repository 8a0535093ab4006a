/**
 * Why a service can't run where it was started: nothing that a programmer could mend, so without a stack.
 * `message` names the cause and the next step.
 */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  /** Of the process: 1 failed, 3 refused by what it found. */
  readonly exitCode: 1 | 3;

  constructor(message: string, exitCode: 1 | 3 = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}
