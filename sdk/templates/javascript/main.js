// What the component is built from: the task, with the host that it has on a target.
import "./component.js";

export { run } from "./task.js";
