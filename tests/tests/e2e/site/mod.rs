//! Site mode: a stub that is installed, and that a key can start and nothing else, on a real sshd.

mod calls;
mod code;
mod compiler;
mod doors;
mod installed;
mod lies;
mod orders;
mod page;
mod programs;
mod relay;
mod rig;
mod rules;
mod sealed;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::LIMIT;
use serde_json::Value;
use tempfile::TempDir;
use waft_proto::id::Hash;
use waft_proto::limits::CHUNK_BYTES_MAX;
use waft_proto::msg::Msg;
use waft_tests::lab::{Lab, LabBuilder};
use waft_tests::sshd::HostSpec;
use waft_tests::user::User;
use waft_tests::waft::{Output, Waft};
use waft_tests::{Context, Error, Result};

/// The name of the controller that the tests are.
const WHO: &str = "ops";

/// Rules that most tests need.
const RULES: &str = r#"
[[rule]]
name = "look"
tasks = ["exec"]
grants = ["exec:/bin/echo *", "exec:/usr/bin/echo *", "time:30s"]
unconfined = true

[[rule]]
name = "facts"
tasks = ["facts"]
grants = ["facts", "time:30s"]
"#;

/// The site build of the stub, which `make test` builds before.
fn stub() -> Result<PathBuf> {
    let named = std::env::var_os("WAFT_SITE_STUB").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let stub = named.unwrap_or_else(|| root.join("target/site/waft-stub"));
    let how = "WAFT_STUB_PROFILE=dev scripts/build-stub.sh site $(uname -m) target/site/waft-stub";
    match stub.is_file() {
        true => Ok(stub),
        false => Err(Error::new(format!("there is no {}; build it: {how}", stub.display()))),
    }
}

/// A host `web1` with an account that one key can log in to, and start the stub.
struct Place {
    lab: Lab,
    account: User,
    /// Of root: the stub, the policy, the state.
    dir: TempDir,
    /// Where waft keeps the key of the controller.
    controller: TempDir,
}

impl Place {
    /// `options` of the host; authorized_keys is written by [`Place::admit`].
    fn start(change: impl FnOnce(HostSpec) -> HostSpec) -> Result<Place> {
        Place::start_beside(Lab::builder(), change)
    }

    /// In a lab with other hosts.
    fn start_beside(lab: LabBuilder, change: impl FnOnce(HostSpec) -> HostSpec) -> Result<Place> {
        let doing = || "cannot prepare an installed stub".to_owned();
        let dir = tempfile::Builder::new().prefix("waft-site-").tempdir().context(doing)?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).context(doing)?;
        let account = User::with_shell("/bin/sh").file(".ssh/rc", "touch ~/rc-ran\n").create()?;
        let keys = dir.path().join("authorized_keys").to_string_lossy().into_owned();
        let spec = HostSpec::new("web1").login(&account).option("AuthorizedKeysFile", keys);
        let lab = lab.host(change(spec)).start()?;
        fs::copy(stub()?, dir.path().join("waft-stub")).context(doing)?;
        let state = dir.path().join("state");
        fs::create_dir(&state).context(doing)?;
        let own = state.join(&account.name);
        fs::create_dir(&own).context(doing)?;
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).context(doing)?;
        chown(&own, Some(account.uid), None).context(doing)?;
        let controller = tempfile::Builder::new().prefix("waft-state-").tempdir().context(doing)?;
        let place = Place { lab, account, dir, controller };
        place.install(&place.stub())?;
        place.admit(&format!("restrict,command=\"{}\"", place.forced()))?;
        place.policy(&format!("{}{RULES}", place.controller()?))?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn stub(&self) -> PathBuf {
        self.path("waft-stub")
    }

    /// What sshd is to start for the key.
    fn forced(&self) -> String {
        format!("{} --as {WHO} --policy {}", self.stub().display(), self.path("policy.toml").display())
    }

    /// Lets the lab's key in, with these options.
    fn admit(&self, options: &str) -> Result<()> {
        let line = format!("{options} {}\n", self.lab.key.public);
        fs::write(self.path("authorized_keys"), line).context(|| "authorized_keys".to_owned())
    }

    /// The inventory says where the stub is, and what else is given.
    fn install(&self, stub: &Path) -> Result<()> {
        self.inventory(&format!("installed = \"{}\"\n", stub.display()))
    }

    fn inventory(&self, lines: &str) -> Result<()> {
        let doing = || "the inventory".to_owned();
        let text = fs::read_to_string(&self.lab.inventory).context(doing)?;
        let text = text.replace("[hosts.web1]\n", &format!("[hosts.web1]\n{lines}"));
        fs::write(&self.lab.inventory, text).context(doing)
    }

    fn policy(&self, text: &str) -> Result<()> {
        let state = self.path("state");
        let text = format!("version = 1\nstate = \"{}\"\n{text}", state.display());
        fs::write(self.path("policy.toml"), text).context(|| "the policy".to_owned())
    }

    fn waft(&self, words: &[&str]) -> Result<Waft> {
        let (command, arguments) = words.split_first().ok_or_else(|| Error::new("no command"))?;
        let waft = Waft::new(command)?.env("XDG_STATE_HOME", self.controller.path()).limit(LIMIT);
        Ok(waft.args(arguments))
    }

    /// The lines by which a policy knows this controller.
    fn controller(&self) -> Result<String> {
        Ok(self.waft(&["policy", "key", "--name", WHO])?.run()?.expect_code(0)?.stdout())
    }

    /// With this policy instead, below the line of the controller.
    fn rules(&self, top: &str, rules: &str) -> Result<()> {
        self.policy(&format!("{top}{}{rules}", self.controller()?))
    }

    /// `waft run` of a module of this text, called `name`, and what came of it.
    fn run(&self, name: &str, wat: &str, words: &[&str]) -> Result<Value> {
        let file = self.path(&format!("{name}.wasm"));
        let module = wat::parse_str(wat).map_err(|error| Error::new(error.to_string()))?;
        fs::write(&file, module).context(|| "a module".to_owned())?;
        let waft = self.waft(&["run"])?.lab(&self.lab).args(["-t", "web1", "--format", "jsonl"]);
        waft.args(words).arg(&file).run()?.result_of("web1")
    }

    /// `waft exec` of this, and its exit code.
    fn exec(&self, argv: &[&str]) -> Result<(Value, Output)> {
        let waft = self.waft(&["exec"])?.lab(&self.lab).args(["-t", "web1", "--format", "jsonl", "--"]);
        let output = waft.args(argv).run()?;
        Ok((output.result_of("web1")?, output))
    }

    fn ping(&self) -> Result<Value> {
        let ping = self.waft(&["ping"])?.lab(&self.lab).args(["-t", "web1", "--format", "json"]);
        let output = ping.run()?;
        let answers: Value = serde_json::from_str(&output.stdout()).context(|| output.to_string())?;
        Ok(answers[0].clone())
    }
}

/// Status, and the code of the problem.
fn told(result: &Value) -> (&str, &str) {
    (result["status"].as_str().unwrap_or_default(), result["error"]["code"].as_str().unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Artifact and module alike come deflated, a piece at a time. Of the first one what tells its size, and the same for another:
/// behind the hash, and up to the mark that there is no dictionary.
fn first_pieces() -> [Vec<u8>; 2] {
    let most = CHUNK_BYTES_MAX as u32;
    [most, most - 1].map(|size| {
        let bytes = Vec::new();
        let mut message =
            Msg::Packed { hash: Hash([0; 32]), offset: 0, size, dictionary: None, bytes }.encode();
        message.pop();
        message.split_off(1 + 32)
    })
}
