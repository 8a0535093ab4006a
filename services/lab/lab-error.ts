/** Something that the lab's user can understand and mend: the message names the cause and the next step. */
export class LabError extends Error {
  override readonly name = "LabError";
}
