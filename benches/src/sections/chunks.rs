//! Two Python components, one after the other, over a hop.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use waft::run::Request;
use waft_tests::lab::Lab;
use waft_tests::process::run;
use waft_tests::proxy::Settings;
use waft_tests::sshd::HostSpec;
use waft_tests::{Context, Error, Result};

use crate::bench::Bench;
use crate::library::{Connected, task};
use crate::report::{Row, Table};

pub(crate) const NAME: &str = "chunks";
const ABOUT: &str = "Two different tasks made by componentize-py, run one after the other on a host behind a hop: what \
                     the link to the hop carries for each, without the stubs. The first needs the worker program, too. \
                     The ratio is to the artifact of the same task.";
const HOP: &str = "hop";
const BEHIND: &str = "leaf";
const BUILD_LIMIT: Duration = Duration::from_secs(300);

const GREETING: &str = "
import json, sys

class Run:
    def run(self):
        name = json.load(sys.stdin).get('name', 'you')
        json.dump({'changed': False, 'msg': 'hello ' + name}, sys.stdout)
";
const HASHES: &str = "
import hashlib, json, os, re, sys

def digest(path):
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()

class Run:
    def run(self):
        params = json.load(sys.stdin)
        pattern = re.compile(params.get('pattern', '.'))
        names = [name for folder in params.get('paths', []) for name in os.listdir(folder)]
        found = {name: digest(name) for name in names if pattern.match(name)}
        json.dump({'changed': False, 'files': found}, sys.stdout)
";

/// Where scripts/languages/python.sh puts it, or in PATH.
pub(crate) fn tool() -> Result<PathBuf> {
    const PROGRAM: &str = "componentize-py";
    let dir = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = dir("XDG_CACHE_HOME").or_else(|| Some(dir("HOME")?.join(".cache")));
    let languages = dir("WAFT_LANGUAGES_DIR").or_else(|| Some(cache?.join("waft/languages")));
    let installed = languages.map(|languages| languages.join("python"));
    let versions = installed.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = versions
        .map(|version| version.path().join("bin"))
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(PROGRAM));
    places.find(|place| place.is_file()).ok_or_else(|| {
        Error::new(format!("there is no {PROGRAM}; `scripts/setup.sh test` installs it for the tests"))
    })
}

pub(super) fn measure(bench: &Bench) -> Result<Table> {
    let tool = tool()?;
    // Before there are links: nobody answers on them meanwhile.
    let requests = [
        component(bench, &tool, "first component", GREETING)?,
        component(bench, &tool, "second component", HASHES)?,
    ];
    let proxied = HostSpec::new(HOP).proxied(Settings::default());
    let lab = Lab::builder().host(proxied).host(HostSpec::new(BEHIND).via(HOP)).start()?;
    let mut connected = Connected::to_host_behind(bench, &lab, HOP, BEHIND)?;
    let link = lab.host(HOP).proxy.as_ref().ok_or_else(|| Error::new("the hop has no proxy"))?;
    // The stubs are there before anything counts.
    connected.run(&crate::library::exec()?)?;
    let mut rows = Vec::new();
    let named = [
        ("first component", "first component, sent, with worker"),
        ("second component", "second component, sent"),
    ];
    for (request, (name, sent)) in requests.iter().zip(named) {
        let mark = link.mark();
        connected.run(request)?;
        let carried = link.since(mark).up_bytes;
        // From the cache.
        let artifact = connected.artifact(request)?.len() as u64;
        rows.push(Row::bytes(format!("{name}, wasm"), request.wasm.len() as u64));
        rows.push(Row::bytes(format!("{name}, artifact"), artifact));
        rows.push(Row::bytes(sent, carried).share_of(artifact));
    }
    connected.stop()?;
    Ok(Table { name: NAME, about: ABOUT, rows })
}

fn component(bench: &Bench, tool: &Path, name: &str, source: &str) -> Result<Request> {
    let dir = bench.dir()?;
    std::fs::write(dir.join("app.py"), source).context(|| "cannot write the app".to_owned())?;
    let wasm = dir.join("task.wasm");
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/wit");
    let mut build = Command::new(tool);
    build.args(["-w", "waft:task/task", "-d"]).arg(wit).args(["componentize", "app", "-p"]).arg(&dir);
    build.arg("-o").arg(&wasm);
    let built = run(build, b"", BUILD_LIMIT)?;
    if !built.status.success() {
        return Err(Error::new(format!("componentize-py: {}", built.stderr_text())));
    }
    let bytes = std::fs::read(&wasm).context(|| format!("cannot read {}", wasm.display()))?;
    Ok(task(&name.replace(' ', "-"), &bytes))
}
