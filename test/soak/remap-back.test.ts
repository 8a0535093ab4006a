/** An address that goes to and fro so often under load that what each remap leaves a little of would show (SPEC D1, D2, R4). */
import { describeToAndFro } from "../system/to-and-fro.ts";

describeToAndFro({ theme: "often", remaps: 60 });
