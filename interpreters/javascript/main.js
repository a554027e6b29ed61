// The task `javascript`: runs a script that it is given. For the script it is as if it were the task itself: `waft` and
// `console` are there, `waft.params()` are its parameters, `scriptArgs` its name and arguments, what it prints is the
// task's stdout. It is a classic script, not a module.

import "./component.js";
import * as waft from "./waft.js";

/** A parameter or script that cannot be used; as the tasks shipped with waft. */
const USAGE = 2;
/** What the script did not catch. */
const FAILED = 1;
/** Exit codes from 126 are the host's. */
const CODE_MAX = 125;
/** As QuickJS names what was evaluated, what is outside of any function, and where this runner begins. */
const EVALUATED = "<input>";
const OUTSIDE = "<eval> (";
const RUNNER = "    at eval (native)";

const TYPES = {
    script: ["a text", (value) => typeof value === "string"],
    name: ["a text", (value) => typeof value === "string"],
    params: ["an object", (value) => typeof value === "object" && value !== null && !Array.isArray(value)],
    args: ["a list of texts", (value) => Array.isArray(value) && value.every((word) => typeof word === "string")],
};

/** The parameters of this task, checked: somebody may run it with another host. */
function given() {
    const params = waft.params();
    for (const [name, value] of Object.entries(params)) {
        if (!Object.hasOwn(TYPES, name)) {
            const known = Object.keys(TYPES).join(", ");
            throw new waft.Problem("params.unknown", `the task javascript has no parameter \`${name}\`: ${known}`);
        }
        const [what, fits] = TYPES[name];
        if (!fits(value)) throw new waft.Problem("params.type", `the parameter \`${name}\` is not ${what}`);
    }
    if (params.script === undefined) {
        throw new waft.Problem("params.missing", "the parameter `script` is missing: the text of the script");
    }
    return { name: "script.js", params: {}, args: [], ...params };
}

/** As others show values: texts as they are, the rest as JSON. */
function shown(value) {
    if (typeof value === "string") return value;
    if (value instanceof Error) return described(value);
    if (typeof value === "object" && value !== null) {
        try {
            return waft.json(value);
        } catch {
            return String(value);
        }
    }
    return String(value);
}

function described(error) {
    const head = error instanceof waft.Problem ? `${error.name}: ${error}` : String(error);
    return `${head}\n${error.stack ?? ""}`.trimEnd();
}

const line = (values) => values.map(shown).join(" ");
const out = (...values) => waft.print(line(values));
const err = (...values) => waft.printError(line(values));

/** A stack without the lines of this runner, and with the script's name. */
function ofScript(text, name) {
    const lines = text.split("\n");
    const end = lines.lastIndexOf(RUNNER);
    const own = (end < 0 ? lines : lines.slice(0, end)).filter((line) => !line.includes(" (/waft.js:"));
    return own.join("\n").replaceAll(EVALUATED, () => name).replaceAll(OUTSIDE, "<script> (");
}

function execute({ script, name, params, args }) {
    const exit = (code = 0) => {
        if (Number.isInteger(code) && code >= 0 && code <= CODE_MAX) return waft.exit(code);
        waft.printError(`waft.exit(${code}): an exit code is 0 to ${CODE_MAX}; this one becomes ${FAILED}`);
        return waft.exit(FAILED);
    };
    const global = { ...waft, params: () => params, exit };
    for (const hidden of ["use", "start", "task", "fake", "json"]) delete global[hidden];
    Object.defineProperty(global, "check", { get: waft.isCheck, enumerable: true });
    Object.assign(globalThis, {
        waft: global,
        console: { log: out, info: out, debug: out, warn: err, error: err },
        print: out,
        scriptArgs: [name, ...args],
    });
    try {
        (0, eval)(script);
        return 0;
    } catch (error) {
        const text = error instanceof Error ? described(error) : `uncaught: ${shown(error)}`;
        waft.printError(ofScript(text, name));
        return FAILED;
    }
}

export const run = {
    run() {
        let code;
        try {
            code = execute(given());
        } catch (error) {
            if (!(error instanceof waft.Problem)) throw error;
            const { message, hint } = error;
            waft.result(false, message, { error: { code: error.code, message, hint } });
            code = USAGE;
        }
        if (code !== 0) waft.exit(code);
    },
};
