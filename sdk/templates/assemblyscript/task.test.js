import assert from "node:assert/strict";
import test from "node:test";
import { run } from "./testing.js";

test("it greets", async () => {
    const { code, result } = await run("{{name}}.wasm", { name: "you" });
    assert.deepEqual([code, result.msg], [0, "Hello, you!"]);
});

test("somebody has to be named", async () => {
    const { code, result } = await run("{{name}}.wasm");
    assert.deepEqual([code, result.error.code], [2, "params.name"]);
});
