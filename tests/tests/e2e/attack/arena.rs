//! Where attacks are made: one sshd per account and wall, each with a directory that is granted and one that is not.

use crate::library::{Connected, module};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use waft::event::{Body, TargetResult};
use waft::tree::{Endpoint, Target};
use waft_proto::envelope::Wall;
use waft_proto::run::Status;
use waft_tests::lab::Lab;
use waft_tests::process::{is_root, run};
use waft_tests::snapshot::Snapshot;
use waft_tests::sshd::HostSpec;
use waft_tests::user::User;
use waft_tests::{Context, Result};

/// The first build of the guests, on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(400);
/// What no attack may read, change or remove.
pub(super) const CANARY: &str = "the canary outside";

/// The module with all attacks.
pub(crate) fn attacks() -> Result<Arc<[u8]>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = root.join("target/guests/out");
    let mut build = Command::new(root.join("scripts/build-guests.sh"));
    build.arg(&out);
    let built = run(build, b"", BUILD_LIMIT)?;
    assert!(built.status.success(), "scripts/build-guests.sh: {}", built.stderr_text());
    Ok(fs::read(out.join("attacks.wasm")).context(|| "cannot read the attacks".to_owned())?.into())
}

/// A module that no compiler makes, from tests/guests/shapes.
pub(super) fn shape(name: &str) -> Arc<[u8]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("guests/shapes/{name}.wat"));
    wat::parse_file(path).expect("a good shape").into()
}

/// tokio opens descriptors for signals once and keeps them: before a guard looks, they are no leak.
pub(crate) fn warm_up() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context(|| "cannot start a runtime".to_owned())?;
    let signal = async { tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child()).map(drop) };
    runtime.block_on(signal).context(|| "cannot listen for signals".to_owned())
}

/// One target, and what lies there.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) wall: Wall,
    /// Holds `granted` and `outside`.
    pub(super) top: PathBuf,
    uid: Option<u32>,
}

pub(super) struct Arena {
    pub(super) places: Vec<Place>,
    pub(super) lab: Lab,
    attacks: Arc<[u8]>,
    _user: Option<User>,
}

/// A request as a test has it.
pub(super) struct Attack {
    pub(super) wasm: Arc<[u8]>,
    pub(super) params: Value,
    pub(super) allow: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) check: bool,
}

impl Attack {
    /// As a dry run.
    pub(super) fn check(mut self) -> Attack {
        self.check = true;
        self
    }

    pub(super) fn allow(mut self, grant: impl Into<String>) -> Attack {
        self.allow.push(grant.into());
        self
    }

    pub(super) fn timeout_ms(mut self, ms: u64) -> Attack {
        self.timeout = Duration::from_millis(ms);
        self
    }
}

impl Arena {
    /// Each account with each wall.
    pub(super) fn new() -> Result<Arena> {
        let user = match is_root() {
            true => Some(User::with_shell("/bin/sh").create()?),
            false => {
                eprintln!("SKIPPED (needs root): attacks as root, beside those as an ordinary user");
                None
            }
        };
        let mut builder = Lab::builder();
        let mut places = Vec::new();
        for (account, login) in [("own", None), ("user", user.as_ref())] {
            if account == "user" && login.is_none() {
                continue;
            }
            for (word, wall) in [("walled", Wall::Required), ("bare", Wall::Off)] {
                let name = format!("{account}-{word}");
                let spec = HostSpec::new(&name);
                builder = builder.host(match login {
                    Some(user) => spec.login(user),
                    None => spec,
                });
                places.push(Place { name, wall, top: PathBuf::new(), uid: login.map(|user| user.uid) });
            }
        }
        warm_up()?;
        let lab = builder.start()?;
        for place in &mut places {
            place.top = lab.dir.path().join(format!("place-{}", place.name));
            place.furnish().context(|| format!("cannot furnish {}", place.top.display()))?;
        }
        Ok(Arena { places, lab, attacks: attacks()?, _user: user })
    }

    /// A link to each place that grants its directory like this: `rw`, `ro`, or none.
    pub(super) fn connect(&self, access: Option<&str>) -> Result<Connected> {
        self.connect_granting(|place| {
            let dir = place.top.join("granted");
            access.map(|access| format!("fs:{}:{access}", dir.display())).into_iter().collect()
        })
    }

    /// The same with what each place gives.
    pub(super) fn connect_granting(&self, allow: impl Fn(&Place) -> Vec<String>) -> Result<Connected> {
        let targets: Vec<Target> = self
            .places
            .iter()
            .map(|place| Target {
                endpoint: Endpoint { wall: place.wall, ..Endpoint::named(&place.name) },
                via: Vec::new(),
                allow: allow(place),
            })
            .collect();
        let mut connected = Connected::with(&self.lab, &targets)?;
        connected.wait_joined()?;
        Ok(connected)
    }

    pub(super) fn attack(&self, name: &str) -> Attack {
        self.with(json!({ "attack": name }))
    }

    pub(super) fn with(&self, params: Value) -> Attack {
        Attack {
            wasm: Arc::clone(&self.attacks),
            params,
            allow: Vec::new(),
            timeout: Duration::from_secs(30),
            check: false,
        }
    }

    /// Runs it everywhere; the results in the order of the places.
    pub(super) fn run(
        &self,
        connected: &mut Connected,
        attack: Attack,
    ) -> Result<Vec<(&Place, TargetResult)>> {
        let mut request = module("attacks", attack.wasm);
        request.params = attack.params.to_string().into_bytes();
        (request.allow, request.timeout) = (attack.allow, attack.timeout);
        request.check = attack.check;
        let mut results = Vec::new();
        connected.attempt(&request, |event| {
            if let (Some(target), Body::Result(result)) = (&event.target, &event.body) {
                results.push((target.to_string(), TargetResult::clone(result)));
            }
        })?;
        assert_eq!(results.len(), self.places.len(), "one result for each: {results:?}");
        Ok(self
            .places
            .iter()
            .map(|place| {
                let at = results.iter().position(|(name, _)| *name == place.name).expect("a result of each");
                (place, results.swap_remove(at).1)
            })
            .collect())
    }

    /// The stubs still do what they did before, and nothing outside was touched.
    pub(super) fn stands(&self, connected: &mut Connected) -> Result<()> {
        let said = json!({ "attack": "say", "stdout": "{\"stands\":true}" });
        for (place, result) in self.run(connected, self.with(said))? {
            assert_eq!(result.status, Status::Ok, "{}: {result:?}", place.name);
            assert_eq!(result.result, Some(json!({ "stands": true })), "{}", place.name);
            place.untouched();
        }
        Ok(())
    }
}

impl Place {
    /// Of its account, when that is another than ours.
    pub(super) fn uid(&self) -> Option<u32> {
        self.uid
    }

    pub(super) fn granted(&self, name: &str) -> PathBuf {
        self.top.join("granted").join(name)
    }

    pub(super) fn outside(&self, name: &str) -> PathBuf {
        self.top.join("outside").join(name)
    }

    fn furnish(&self) -> std::io::Result<()> {
        fs::create_dir(&self.top)?;
        for dir in ["granted", "granted/inner", "granted/turn", "outside", "outside/dir"] {
            fs::create_dir(self.top.join(dir))?;
        }
        for file in ["file", "inner/file", "turn/file", "sacrifice"] {
            fs::write(self.granted(file), "inside")?;
        }
        for file in ["file", "only-outside", "file-to-remove"] {
            fs::write(self.outside(file), CANARY)?;
        }
        let absolute = self.top.join("outside");
        for (name, content) in [
            ("absolute", absolute.as_path()),
            ("relative", Path::new("../outside")),
            ("chain", Path::new("inner/up")),
            ("inner/up", Path::new("../../outside")),
            ("to-file", Path::new("../outside/file")),
            ("proc-root", Path::new("/proc/self/root")),
            ("proc-cwd", Path::new("/proc/self/cwd")),
            ("fine", Path::new("inner/file")),
            ("loop", Path::new("loop")),
        ] {
            symlink(content, self.granted(name))?;
        }
        // The account owns all of it, outside too: what stops the task is not the kernel's permissions.
        let mut all = vec![self.top.clone()];
        while let Some(path) = all.pop() {
            std::os::unix::fs::lchown(&path, self.uid, None)?;
            if path.is_dir() && !path.is_symlink() {
                all.extend(fs::read_dir(&path)?.flatten().map(|entry| entry.path()));
            }
        }
        chown(&self.top, self.uid, None)
    }

    /// What is outside is as it was made.
    pub(super) fn untouched(&self) {
        let mut names: Vec<_> = fs::read_dir(self.top.join("outside"))
            .expect("a directory")
            .flatten()
            .map(|entry| entry.file_name().into_string().expect("a plain name"))
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["dir", "file", "file-to-remove", "only-outside"], "{}", self.name);
        for file in ["file", "only-outside", "file-to-remove"] {
            let text = fs::read_to_string(self.outside(file)).expect("a canary");
            assert_eq!(text, CANARY, "{}: {file}", self.name);
        }
        assert_eq!(fs::read_dir(self.outside("dir")).expect("a directory").count(), 0, "{}", self.name);
        assert_eq!(fs::read_dir(&self.top).expect("a directory").count(), 2, "{}", self.name);
    }

    /// Everything outside with its owner, mode, times and content.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(&[&self.top.join("outside")], &[])
    }
}

/// What the guest says of its own attack: all refused, and what must work worked. Gives its result.
pub(super) fn held(place: &Place, result: &TargetResult) -> Value {
    let said = result.result.clone().unwrap_or_default();
    assert_eq!(result.status, Status::Ok, "{}: {:?} {said}", place.name, result.problem);
    assert_eq!(said["broke"], json!([]), "{} is broken", place.name);
    assert_eq!(said["lost"], json!([]), "{} refuses too much", place.name);
    said
}
