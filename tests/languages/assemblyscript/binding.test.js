// The module of binding.ts, where stdin cannot be read.
import assert from "node:assert/strict";
import { mkdtempSync, openSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { WASI } from "node:wasi";

test("parameters that cannot be read are not taken for none", async () => {
    const folder = mkdtempSync(join(tmpdir(), "waft-test-"));
    const answer = join(folder, "answer");
    // A directory opens, and gives no bytes.
    const [stdin, stdout] = [openSync(folder, "r"), openSync(answer, "w")];
    const wasi = new WASI({ version: "preview1", stdin, stdout, returnOnExit: true });
    const module = await WebAssembly.compile(readFileSync("binding.wasm"));
    const code = wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
    assert.deepEqual([code, JSON.parse(readFileSync(answer, "utf8")).error.code], [2, "params.read"]);
});
