import assert from "node:assert/strict";
import test from "node:test";
import { run } from "./task.js";
import { fake } from "./waft.js";

test("it greets", () => {
    const { code, result } = fake().run(run, { name: "you" });
    assert.deepEqual([code, result.msg], [0, "Hello, you!"]);
});

test("somebody has to be named", () => {
    const { code, result } = fake().run(run);
    assert.deepEqual([code, result.error.code], [2, "params.name"]);
});
