//! A target with a file system and processes of its own: an sshd in private mount and pid namespaces.
//!
//! Its root is a fresh tmpfs with the programs that a small server has. Nothing else writes there, so that a snapshot
//! and a watch of the *whole* of it are exact; only /proc and /sys are left out, which are the kernel's. sshd is pid 1
//! there: whoever loses its parent becomes sshd's child, so that nothing hides. The network is the host's loopback.
//!
//! sshd's own logs are no exception to the proof, because it writes none there: its messages go to a file outside, and
//! utmp, wtmp and lastlog (which exist) are for logins with a terminal.
//!
//! Without root the same is made in a user namespace, and sshd runs as the account that runs the test.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::keys::{KeyKind, KeyPair};
use crate::lab::Lab;
use crate::process::{self, Process, descendants, kill_trees, spawn_bound, wait_until};
use crate::snapshot::{Diff, Snapshot};
use crate::sshd::START_LIMIT;
use crate::watch::{Seen, Watch};
use crate::{Context, Error, Result};

/// Between asking the kernel for a free port and sshd's bind, someone else may take it.
const PORT_ATTEMPTS: u32 = 3;
/// The ordinary account. Its uid is that of the test where the test is not run by root.
pub const ORDINARY: &str = "ops";
const ORDINARY_ID: u32 = 1000;
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes the root and becomes its sshd. Arguments: an empty directory, one whose content goes to the new root, the
/// ordinary account's uid and gid, and `root` or `user` for who runs the test.
const SETUP: &str = r#"
set -eu
root=$1 prepared=$2 uid=$3 gid=$4 more=$6
mount -t tmpfs -o mode=755,size=256m waft-machine "$root"
cd "$root"
# Relative links: as long as this is not the root, an absolute one leads out of it.
for name in bin sbin lib lib32 lib64; do
    [ -L "/$name" ] || continue
    real=$(readlink -f "/$name"); mkdir -p ".$real"; ln -s "${real#/}" "$name"
done
programs=
for program in sh bash perl python3 gzip cat chmod cp dd echo env head id ls mkdir mount mv rm rmdir setsid sleep sshd \
        touch true umount uname unshare $more; do
    for dir in /usr/sbin /usr/bin /sbin /bin; do
        if [ -x "$dir/$program" ]; then programs="$programs $dir/$program"; break; fi
    done
done
# Parts of newer releases of sshd.
for part in /usr/lib/openssh/sshd-session /usr/lib/openssh/sshd-auth; do
    if [ -x "$part" ]; then programs="$programs $part"; fi
done
libraries=$(ldd $programs | sed -n 's|.*=> \(/[^ ]*\) .*|\1|p; s|^[[:space:]]*\(/[^ ]*\) (.*|\1|p' | sort -u)
# Where libc does not bring it itself.
names=$(ls /lib/*/libnss_files.so.2 2>/dev/null || :)
# What Python needs to start, without its byte code: that is written by whoever runs it first and may.
python=$(/usr/bin/python3 -IB -c 'import os; print(os.path.dirname(os.__file__))')
modules=$(ls "$python"/*.py "$python"/encodings/*.py "$python"/lib-dynload/zlib.*.so 2>/dev/null || :)
cp -L --preserve=mode,timestamps --parents -t . $programs $libraries $names $modules /etc/ld.so.cache
mkdir -p dev/shm proc sys tmp root run/sshd var/tmp var/log .old
ln -s ../run var/run
: >run/utmp; : >var/log/wtmp; : >var/log/btmp; : >var/log/lastlog
chmod 1777 tmp var/tmp dev/shm
ln -s /proc/self/fd dev/fd
chmod 700 root
cp -r "$prepared/." .
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    path=dev/${node%:*}
    # A user namespace may make no devices.
    mknod -m 666 "$path" c 1 "${node#*:}" 2>/dev/null || { : >"$path"; mount --bind "/$path" "$path"; }
done
mount -t proc proc proc
mount --rbind /sys sys
own=
if [ "$5" = root ]; then chown -R "$uid:$gid" home/*; else own="unshare --user --map-user=$uid --map-group=$gid"; fi
pivot_root . .old
umount -l /.old
rmdir /.old
exec $own /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config
"#;

/// The same for [`Machine::start_whole`], with the arguments of [`SETUP`]: all programs of this machine, read-only, over
/// an /etc and a /var of its own, with an empty database of packages. What a test writes to /usr/local is its own, too.
const SETUP_WHOLE: &str = r#"
set -eu
root=$1 prepared=$2 uid=$3 gid=$4 hidden=$6
mount -t tmpfs -o mode=755,size=256m waft-machine "$root"
cd "$root"
for name in bin sbin lib lib32 lib64; do
    [ -L "/$name" ] || continue
    real=$(readlink -f "/$name"); ln -s "${real#/}" "$name"
done
mkdir -p usr dev/shm proc sys tmp root run/sshd run/lock etc var/tmp var/log var/cache/apt/archives/partial .old
mkdir -p var/lib/apt/lists/partial var/lib/dpkg/info var/lib/dpkg/updates var/lib/dpkg/triggers var/spool/cron
mount --bind /usr usr
mount -o remount,bind,ro usr
# A device is no program.
for name in $hidden; do
    for dir in sbin bin; do
        if [ -e "usr/$dir/$name" ]; then mount --bind /dev/null "usr/$dir/$name"; fi
    done
done
mount -t tmpfs -o mode=755,size=64m waft-local usr/local
mkdir usr/local/bin usr/local/sbin
ln -s ../run var/run
: >run/utmp; : >var/log/wtmp; : >var/log/btmp; : >var/log/lastlog; : >var/lib/dpkg/status; : >var/lib/dpkg/available
chmod 1777 tmp var/tmp dev/shm
ln -s /proc/self/fd dev/fd
chmod 700 root
# Of ours what programs need to start, and no setting of this machine.
for name in alternatives ld.so.cache login.defs pam.d security; do
    if [ -e "/etc/$name" ]; then cp -a "/etc/$name" etc/; fi
done
mkdir -p etc/apt/apt.conf.d etc/apt/preferences.d etc/default etc/skel etc/sysctl.d etc/cron.d etc/init.d
for level in 0 1 2 3 4 5 6 S; do mkdir "etc/rc$level.d"; done
cp -r "$prepared/." .
for name in null zero full random urandom; do : >"dev/$name"; mount --bind "/dev/$name" "dev/$name"; done
mount -t proc proc proc
mount --rbind /sys sys
chown -R "$uid:$gid" home/*
pivot_root . .old
umount -l /.old
rmdir /.old
exec /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config
"#;

/// What a machine has.
#[derive(Clone, Copy)]
enum Kind<'a> {
    /// Few programs, and these.
    Small(&'a str),
    /// All programs but these.
    Whole(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Root,
    /// [`ORDINARY`].
    Ordinary,
}

impl Login {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Ordinary => ORDINARY,
        }
    }
}

/// A running machine. Dropped: all its processes are killed, and its file system is gone.
pub struct Machine {
    pub name: String,
    pub address: SocketAddr,
    /// Its root, as this process can reach it.
    root: PathBuf,
    /// The pid, here, of its sshd.
    sshd: u32,
    /// unshare, which waits for sshd. When either ends, the kernel ends all that runs there.
    outer: Child,
}

impl Machine {
    /// Starts one that `login` can be logged in to, and adds it to the lab's files: the inventory (with its `via`),
    /// `ssh_config` and `known_hosts`.
    pub fn start(lab: &Lab, name: &str, login: Login, via: Option<&str>) -> Result<Self> {
        Self::start_with(lab, name, login, via, "")
    }

    /// The same with more programs of this machine, separated by blanks.
    pub fn start_with(
        lab: &Lab,
        name: &str,
        login: Login,
        via: Option<&str>,
        programs: &str,
    ) -> Result<Self> {
        Self::start_kind(lab, name, login, via, Kind::Small(programs))
    }

    /// With all programs of this machine but the `hidden` ones (separated by blanks), an /etc and a /var of its own to change, and a host name and kernel settings
    /// of System V IPC of its own. Needs root.
    pub fn start_whole(lab: &Lab, name: &str, login: Login, hidden: &str) -> Result<Self> {
        Self::start_kind(lab, name, login, None, Kind::Whole(hidden))
    }

    fn start_kind(lab: &Lab, name: &str, login: Login, via: Option<&str>, kind: Kind<'_>) -> Result<Self> {
        process::adopt_orphans();
        let dir = lab.dir.path().join(name);
        let doing = || format!("cannot prepare {name} in {}", dir.display());
        fs::create_dir(&dir).context(doing)?;
        fs::create_dir(dir.join("root")).context(doing)?;
        let host_key = KeyPair::generate(KeyKind::Ed25519, &dir.join("host_key"))?;
        let mut attempt = 1;
        let machine = loop {
            let address = free_address().context(|| format!("no free port for {name}"))?;
            prepare(&dir.join("prepared"), lab, &host_key, address).context(doing)?;
            match Self::launch(name, &dir, address, kind) {
                Err(error)
                    if attempt < PORT_ATTEMPTS && error.to_string().contains("Address already in use") =>
                {
                    attempt += 1;
                }
                started => break started?,
            }
        };
        machine.add_to(lab, login, via, &host_key).context(doing)?;
        Ok(machine)
    }

    fn launch(name: &str, dir: &Path, address: SocketAddr, kind: Kind<'_>) -> Result<Self> {
        let log = dir.join("sshd.log");
        let [uid, gid] = ordinary_ids().map(|id| id.to_string());
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child=KILL"]);
        let (setup, names) = match kind {
            Kind::Small(programs) => (SETUP, programs),
            Kind::Whole(hidden) => {
                command.args(["--uts", "--ipc"]);
                (SETUP_WHOLE, hidden)
            }
        };
        if !process::is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args(["sh", "-c", setup, "sh"])
            .args([dir.join("root"), dir.join("prepared")])
            .args([uid, gid]);
        command
            .arg(if process::is_root() { "root" } else { "user" })
            .arg(names)
            .env_clear()
            .env("PATH", PATH);
        let stderr = File::create(&log).context(|| format!("cannot make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let outer = spawn_bound(command).context(|| "cannot start unshare (of util-linux)".to_owned())?;
        let root = PathBuf::from(format!("/proc/{}/root/.", outer.id()));
        let mut machine = Self { name: name.to_owned(), address, root, sshd: 0, outer };

        let said = || fs::read_to_string(&log).unwrap_or_default();
        let what = format!("the sshd of {name} at {address}");
        let listens = wait_until(&what, START_LIMIT, || match machine.outer.try_wait() {
            Ok(None) => said().contains("Server listening").then_some(true),
            _ => Some(false),
        });
        if !listens.context(|| format!("its log: {}", said().trim()))? {
            return Err(Error::new(format!("{what} ended at once; its log: {}", said().trim())));
        }
        let outer = machine.outer.id();
        let sshd = descendants(&[outer]).into_iter().find(|process| process.parent == outer);
        machine.sshd =
            sshd.map(|process| process.id.pid).ok_or_else(|| Error::new(format!("{what} is gone")))?;
        // Or every proof below would be one about the file system of the test.
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
        let looking = || format!("cannot look at the root of {name}");
        match device(&machine.root).context(looking)? == device(Path::new("/")).context(looking)? {
            true => Err(Error::new(format!("{name} has no root of its own"))),
            false => Ok(machine),
        }
    }

    fn add_to(&self, lab: &Lab, login: Login, via: Option<&str>, host_key: &KeyPair) -> std::io::Result<()> {
        let (name, ip, port, user) = (&self.name, self.address.ip(), self.address.port(), login.name());
        let via = via.map(|parent| format!("via = \"{parent}\"\n")).unwrap_or_default();
        let (key, known) = (lab.key.path.display(), lab.known_hosts.display());
        let added = [
            (
                &lab.inventory,
                format!("[hosts.{name}]\nhost = \"{ip}\"\nport = {port}\nuser = \"{user}\"\n{via}\n"),
            ),
            (
                &lab.ssh_config,
                format!(
                    "Host {name}\n  HostName {ip}\n  Port {port}\n  User {user}\n  IdentityFile {key}\n  \
                     IdentitiesOnly yes\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile /dev/null\n  \
                     StrictHostKeyChecking yes\n  UpdateHostKeys no\n"
                ),
            ),
            (&lab.known_hosts, format!("[{ip}]:{port} {}\n", host_key.public_without_comment())),
        ];
        for (file, text) in added {
            File::options().append(true).open(file)?.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    /// Where this process finds what is at an absolute path there.
    pub fn path(&self, there: &str) -> PathBuf {
        self.root.join(there.trim_start_matches('/'))
    }

    /// The pid, here, of the sshd that listens: the first process there.
    pub fn pid(&self) -> u32 {
        self.sshd
    }

    /// What runs there beside the sshd that listens. As that is the first process of the pid namespace, each process
    /// in there descends from it.
    pub fn running(&self) -> Vec<Process> {
        descendants(&[self.sshd])
    }

    /// Begins to look for changes, once no session is left.
    pub fn observe(&self) -> Result<Observation<'_>> {
        if !self.is_alone_within(START_LIMIT) {
            return Err(Error::new(format!("{} still runs: {:?}", self.name, self.running())));
        }
        let [proc, sys] = self.kernels();
        // First: what happens while the snapshot is taken is then seen as well.
        let watch = Watch::start(&[&self.root], &[&proc, &sys])?;
        Ok(Observation { machine: self, before: self.snapshot()?, watch })
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let [proc, sys] = self.kernels();
        Snapshot::take(&[&self.root], &[&proc, &sys])
    }

    /// What is there by the kernel's doing.
    fn kernels(&self) -> [PathBuf; 2] {
        ["/proc", "/sys"].map(|path| self.path(path))
    }

    fn is_alone_within(&self, limit: Duration) -> bool {
        wait_until("sessions to end", limit, || self.running().is_empty().then_some(())).is_ok()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        kill_trees(&mut [&mut self.outer]);
    }
}

/// A look at all of a machine that lasts; see [`Machine::observe`].
pub struct Observation<'a> {
    machine: &'a Machine,
    before: Snapshot,
    watch: Watch,
}

impl Observation<'_> {
    /// What has changed since. Sessions get this long to end; what runs then has been left behind.
    pub fn finish(self, limit: Duration) -> Result<Changes> {
        let left = match self.machine.is_alone_within(limit) {
            true => Vec::new(),
            false => self.machine.running(),
        };
        let after = self.machine.snapshot()?;
        Ok(Changes { diff: self.before.diff(&after), seen: self.watch.finish()?, left })
    }

    /// How much is looked at: files, directories and all else.
    pub fn entries(&self) -> usize {
        self.before.paths().count()
    }

    /// Whether what lies at an absolute path there is looked at.
    pub fn covers(&self, there: &str) -> bool {
        let path = self.machine.path(there);
        self.before.paths().any(|looked_at| looked_at == path)
    }
}

/// All that happened to a machine.
#[derive(Debug)]
pub struct Changes {
    pub diff: Diff,
    pub seen: Seen,
    pub left: Vec<Process>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.diff.is_empty() && self.seen.events.is_empty() && self.left.is_empty()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "snapshot:\n{}watch:\n{}left:", self.diff, self.seen)?;
        self.left.iter().try_for_each(|process| writeln!(out, "{process}"))
    }
}

/// Whether a machine can be made here: by root always, by others where the kernel lets them have user namespaces.
pub fn is_possible() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-c"]);
    command.arg(
        "mount -t proc proc /proc && mount -t tmpfs waft-machine /tmp && unshare --user --map-user=1 true",
    );
    process::is_root() || process::run_tool(command, b"").is_ok()
}

/// Addresses at the end of the block that a lab of this test process begins with.
fn free_address() -> std::io::Result<SocketAddr> {
    static NEXT: AtomicU8 = AtomicU8::new(230);
    let block = u8::try_from(1 + std::process::id() % 200).unwrap_or(1);
    let ip = Ipv4Addr::new(127, 0, block, NEXT.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((ip, 0))?.local_addr()
}

fn ordinary_ids() -> [u32; 2] {
    match process::is_root() {
        true => [ORDINARY_ID; 2],
        false => [rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()],
    }
}

/// Lays out what the machine has that is not copied from here: accounts, homes, and sshd's own files.
fn prepare(dir: &Path, lab: &Lab, host_key: &KeyPair, address: SocketAddr) -> std::io::Result<()> {
    let [uid, gid] = ordinary_ids();
    let (ip, port) = (address.ip(), address.port());
    let files = [
        (
            "etc/passwd",
            format!(
                "root:x:0:0:root:/root:/bin/bash\nsshd:x:101:65534::/run/sshd:/bin/false\n\
                 nobody:x:65534:65534::/:/bin/false\n{ORDINARY}:x:{uid}:{gid}::/home/{ORDINARY}:/bin/bash\n"
            ),
        ),
        ("etc/group", format!("root:x:0:\nnogroup:x:65534:\n{ORDINARY}:x:{gid}:\n")),
        ("etc/shadow", format!("root:*:1::::::\nsshd:*:1::::::\nnobody:*:1::::::\n{ORDINARY}:*:1::::::\n")),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n".to_owned()),
        ("etc/hosts", "127.0.0.1 localhost\n".to_owned()),
        (
            "etc/ssh/sshd_config",
            format!(
                "Port {port}\nListenAddress {ip}\nHostKey /etc/ssh/host_key\nPidFile none\nUsePAM no\n\
                 PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 UseDNS no\nStrictModes no\nLogLevel VERBOSE\n"
            ),
        ),
        ("etc/ssh/host_key", fs::read_to_string(&host_key.path)?),
        ("root/.ssh/authorized_keys", lab.key.public.clone() + "\n"),
        ("root/.bashrc", "# of root\n".to_owned()),
        (&format!("home/{ORDINARY}/.ssh/authorized_keys"), lab.key.public.clone() + "\n"),
        (&format!("home/{ORDINARY}/.bashrc"), "# of an account\n".to_owned()),
        (&format!("home/{ORDINARY}/.bash_history"), "ls\n".to_owned()),
    ];
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(&path, text)?;
    }
    fs::set_permissions(dir.join("etc/ssh/host_key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    fs::set_permissions(dir.join("etc/shadow"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
}
