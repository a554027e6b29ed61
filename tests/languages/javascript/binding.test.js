// The binding by itself, with a host that the test makes: what waft could not read of an answer.
import assert from "node:assert/strict";
import test from "node:test";
import { Problem, fake, task } from "./waft.js";

const answer = (main) => fake().run(task(main));

test("half of a surrogate pair is no text", () => {
    // A backslash before `ud83d` is a text of its own.
    const texts = ["\ud83d", "\ude00\ud83d", "\u{1f600}", "\\ud83d", "\\\ud83d", "\ufffd"];
    const readable = ["\ufffd", "\ufffd\ufffd", "\u{1f600}", "\\ud83d", "\\\ufffd", "\ufffd"];
    const expected = { code: 0, result: { changed: true, "k\ufffd": readable } };
    const { code, result: said } = answer(() => ({ changed: true, "k\ud83d": texts }));
    assert.deepEqual({ code, result: said }, expected);
    const failed = answer(() => {
        throw new Problem("task.failed", "no \ud83d", "have \ud83d");
    });
    assert.deepEqual([failed.code, failed.result.msg, failed.result.error.hint], [1, "no \ufffd", "have \ufffd"]);
});
