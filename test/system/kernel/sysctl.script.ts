/**
 * Settings of this namespace, kept in the file of the first argument; the second says what to do:
 *
 * - `apply JSON`: makes those settings ours and is killed at once, as by a crash; prints nothing
 * - `apply-bad JSON`: the same, where one can't be set; prints the errno
 * - `restore`: puts back what is ours; prints what is said of a damaged file
 */
import { KernelError } from "../../../src/kernel/kernel-error.ts";
import { SavedSysctls, type Sysctl } from "../../../src/kernel/sysctl.ts";

const [file = "", action, settings = "[]"] = process.argv.slice(2);
let damaged: string | undefined;
const saved = new SavedSysctls(file, (message) => {
  damaged = message;
});
const wanted = JSON.parse(settings) as Sysctl[];

switch (action) {
  case "apply":
    saved.apply(wanted);
    console.log("{}");
    process.kill(process.pid, "SIGKILL");
    break;
  case "apply-bad":
    try {
      saved.apply(wanted);
    } catch (error) {
      console.log(JSON.stringify({ errno: error instanceof KernelError ? error.errno : String(error) }));
    }
    break;
  case "restore":
    saved.restore();
    console.log(JSON.stringify({ damaged }));
    break;
  default:
    throw new Error(`unknown action ${action}`);
}
