// What the task does.
import { fail, task } from "./waft.js";

export const run = task(({ name }) => {
    if (typeof name !== "string") fail("the parameter `name` is missing: whom to greet", "params.name");
    return { changed: false, msg: `Hello, ${name}!` };
});
