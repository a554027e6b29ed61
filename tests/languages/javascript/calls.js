// Calls all that waft.js has.
import * as waft from "./waft.js";

function code(work) {
    try {
        work();
    } catch (problem) {
        return problem.code;
    }
}

export const run = waft.task(({ dir, port, blob: sent, only }) => {
    if (only === "random") return { drawn: Math.random() };
    waft.log("calls:", "log");
    waft.progress(1, 2, "half");
    waft.progress(2, 2, "all");
    const cat = waft.run(["/bin/cat"], { input: new Uint8Array([97, 255, 98]) });
    const refused = code(() => waft.run(["/bin/true"]));
    waft.file("symlink", `${dir}/b`, { target: "file" });
    waft.file("rename", `${dir}/b`, { to: `${dir}/c` });
    waft.makeDir(`${dir}/sub`);
    waft.writeFile(`${dir}/sub/made`, "h\u00e9l");
    waft.appendFile(`${dir}/sub/made`, "lo");
    const written = waft.readFile(`${dir}/sub/made`);
    const names = waft.listDir(`${dir}/sub`);
    waft.removeFile(`${dir}/sub/made`);
    if (names.join() !== "made" || waft.exists(`${dir}/sub/made`)) waft.fail(`${names}`);
    waft.removeDir(`${dir}/sub`);
    const connection = waft.connect("127.0.0.1", port, { timeoutMs: 10000 });
    connection.write("hello there");
    connection.shutdown();
    const answer = waft.decode(connection.readAll());
    connection.close();
    const blob = new waft.Blob(sent);
    const content = blob.readAll();
    blob.close();
    const stat = waft.file("stat", `${dir}/file`);
    const chmod = () => waft.file("chmod", `${dir}/file`, { mode: "0600" }).changed;
    return {
        changed: true,
        facts: waft.facts().kernel,
        exec: [[...cat.stdoutBytes], cat.exitCode, refused],
        file: [stat.kind, stat.mode, chmod(), chmod(), waft.file("stat", `${dir}/c`).kind],
        written,
        net: [waft.resolve("127.0.0.1"), answer],
        task: waft.call("facts").result.facts.kernel,
        blob: [blob.size, content.length, content.reduce((sum, byte) => sum + byte, 0)],
        secret: [...waft.secret("word")].reverse().join(""),
        wrong: code(() => waft.file("chmod", dir, { mdoe: "0600" })),
        check: waft.isCheck(),
    };
});
