// Runs a task in Node.js, with a host that the test makes: `await run("x.wasm", { name: "you" }, { facts: {..} })`.

import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WASI } from "node:wasi";

/** What each call answers: an object for all times, a list of them in their order, or a function of the request. A refusal is
 *  an answer, too: `{ error: { code, message } }`. `read` are the bytes that reads return. The end: `code`, `result`, what was
 *  `asked`, and what was `written`. */
export async function run(file, params = {}, answers = {}, { check = false } = {}) {
    const folder = mkdtempSync(join(tmpdir(), "waft-test-"));
    const [input, output] = [join(folder, "stdin"), join(folder, "stdout")];
    writeFileSync(input, JSON.stringify(params));
    const [stdin, stdout] = [openSync(input, "r"), openSync(output, "w")];
    try {
        const env = { WAFT_TASK: "test", ...(check ? { WAFT_CHECK: "1" } : {}) };
        const wasi = new WASI({ version: "preview1", args: ["test"], env, stdin, stdout, returnOnExit: true });
        const { imports, asked, written, attach } = host(answers);
        const module = await WebAssembly.compile(readFileSync(file));
        const instance = await WebAssembly.instantiate(module, { ...wasi.getImportObject(), waft_v1: imports });
        attach(instance.exports.memory);
        const code = wasi.start(instance);
        return { code, result: JSON.parse(readFileSync(output, "utf8") || "{}"), asked, written };
    } finally {
        closeSync(stdin);
        closeSync(stdout);
        rmSync(folder, { recursive: true });
    }
}

function host(answers) {
    let memory = null;
    let reply = Buffer.alloc(0);
    let bytes = Buffer.from(answers.read ?? "");
    const [asked, written] = [[], []];
    const at = (address, length) => Buffer.from(memory.buffer, address, length);
    const imports = {
        take(address, length) {
            const part = reply.subarray(0, length);
            part.copy(at(address, length));
            reply = reply.subarray(part.length);
            return part.length;
        },
        read(_, address, length) {
            const part = bytes.subarray(0, length);
            part.copy(at(address, length));
            bytes = bytes.subarray(part.length);
            return part.length;
        },
        write(_, address, length) {
            written.push(...at(address, length));
            return length;
        },
    };
    for (const name of ["exec", "facts", "file", "net", "task", "blob", "secret", "emit"]) {
        imports[name] = (address, length) => {
            const request = JSON.parse(at(address, length).toString());
            asked.push([name, request]);
            const missing = { error: { code: "grant.missing", message: `the test gives no ${name}`, hint: null } };
            let answer = name === "emit" ? {} : answers[name] ?? missing;
            if (Array.isArray(answer)) answer = answer.shift();
            if (typeof answer === "function") answer = answer(request);
            reply = Buffer.from(JSON.stringify(answer));
            return reply.length;
        };
    }
    return { imports, asked, written, attach: (of) => { memory = of; } };
}
