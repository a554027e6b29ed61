use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

fn operator() -> Operator {
    Operator { home: Some("/home/op".into()), user: Some("op".to_owned()), agent: Some("/run/agent".into()) }
}

fn query(host: &str) -> Query<'_> {
    Query { host, user: None, port: None, config: None }
}

fn paths(paths: &[&str]) -> Vec<PathBuf> {
    paths.iter().map(PathBuf::from).collect()
}

/// A program in place of ssh.
fn fake(dir: &tempfile::TempDir, script: &str) -> PathBuf {
    let path = dir.path().join("ssh");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("executable");
    path
}

/// Another test's fork may hold the script open for writing while it is started; then it is busy.
async fn resolve_fake(ssh: &Path, query: Query<'_>) -> Result<SshSettings, Problem> {
    for _ in 0..100 {
        match resolve_with(ssh.as_os_str(), query, &operator()).await {
            Err(problem) if problem.message.contains("Text file busy") => tokio::task::yield_now().await,
            other => return other,
        }
    }
    panic!("the script stays busy");
}

#[test]
fn everything_that_ssh_prints_is_read() {
    let text = "host web\nuser deploy\nhostname 10.0.0.5\nport 2222\naddressfamily inet6\nidentitiesonly yes\n\
        stricthostkeychecking accept-new\nidentityfile ~/.ssh/my key\nidentityfile %d/keys/%r@%h-%n-%p-%k-%%\n\
        identityfile /k/%C\ncertificatefile ~/.ssh/cert.pub\nhostkeyalias farm\nidentityagent none\n\
        globalknownhostsfile /etc/known /etc/known2\nuserknownhostsfile /dev/null\n\
        proxyjump a@b1:22,b2\nproxycommand none\nconnecttimeout 7\n";
    let settings = parse(text, query("web"), &operator());
    let expected = SshSettings {
        name: "web".to_owned(),
        host: "10.0.0.5".to_owned(),
        user: "deploy".to_owned(),
        port: 2222,
        identities: paths(&["/home/op/.ssh/my key", "/home/op/keys/deploy@10.0.0.5-web-2222-farm-%"]),
        identities_only: true,
        certificates: paths(&["/home/op/.ssh/cert.pub"]),
        agent: None,
        user_known_hosts: Vec::new(),
        global_known_hosts: paths(&["/etc/known", "/etc/known2"]),
        strict: StrictHostKey::AcceptNew,
        host_key_alias: Some("farm".to_owned()),
        proxy_jump: vec!["a@b1:22".to_owned(), "b2".to_owned()],
        proxy_command: None,
        connect_timeout: Some(Duration::from_secs(7)),
        address_family: AddressFamily::V6,
    };
    assert_eq!(settings, expected);
    let odd = "connecttimeout none\nidentityagent SSH_AUTH_SOCK\nstricthostkeychecking false\nproxycommand nc %h 1\n";
    let settings = parse(odd, query("web"), &operator());
    assert_eq!((settings.connect_timeout, settings.strict), (None, StrictHostKey::No));
    assert_eq!(settings.agent, Some("/run/agent".into()));
    assert_eq!(settings.proxy_command.as_deref(), Some("nc %h 1"));
    assert_eq!(parse("", query("web"), &operator()), defaults(query("web"), &operator()));
}

#[tokio::test]
async fn without_ssh_its_defaults_count() {
    let asked = Query { port: Some(23), ..query("web") };
    let settings = resolve_with(OsStr::new("/nonexistent/ssh"), asked, &operator()).await.expect("settings");
    assert_eq!((settings.host.as_str(), settings.user.as_str(), settings.port), ("web", "op", 23));
    assert_eq!(settings.identities.len(), IDENTITIES.len());
    assert_eq!(settings.user_known_hosts.first(), Some(&PathBuf::from("/home/op/.ssh/known_hosts")));
    // A configuration that was asked for and cannot be read is not silently left out.
    let asked = Query { config: Some(Path::new("/tmp/config")), ..query("web") };
    assert!(resolve_with(OsStr::new("/nonexistent/ssh"), asked, &operator()).await.is_err());
}

#[tokio::test]
async fn names_that_ssh_would_read_as_options_are_refused() {
    for host in ["-oProxyCommand=id", "", "a b", "a\nb"] {
        assert_eq!(resolve(query(host), &operator()).await.expect_err(host).code, "ssh.host");
    }
    let user = Query { user: Some("-x"), ..query("web") };
    assert_eq!(resolve(user, &operator()).await.expect_err("refused").code, "ssh.user");
}

#[tokio::test]
async fn ssh_gets_the_words_and_its_refusal_is_passed_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let echo = fake(&dir, "echo \"hostname $*\"");
    let asked = Query { host: "web;id", user: Some("u"), port: Some(7), config: Some(Path::new("/c f")) };
    let settings = resolve_fake(&echo, asked).await.expect("settings");
    assert_eq!(settings.host, "-G -F /c f -l u -p 7 -- web;id");

    let dir = tempfile::tempdir().expect("a directory");
    let refuse = fake(&dir, "echo first >&2; echo 'bad line 3' >&2; exit 255");
    let problem = resolve_fake(&refuse, query("web")).await.expect_err("refused");
    assert_eq!(problem.message, "ssh cannot say how to reach web: bad line 3");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_ssh_is_given_up() {
    let dir = tempfile::tempdir().expect("a directory");
    // With time paused the clock jumps to the next timer as soon as nothing else can be done.
    let stuck = fake(&dir, "exec sleep 600");
    let problem = resolve_fake(&stuck, query("web")).await.expect_err("stuck");
    assert!(problem.message.contains("did not end within 10 s"), "{problem}");
}

/// The installed client, with a configuration of our own.
#[tokio::test]
async fn the_real_ssh_is_understood() {
    let ssh = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|dir| dir.join("ssh")).find(|ssh| ssh.exists()));
    let Some(ssh) = ssh else { return eprintln!("skipped: there is no ssh client here") };
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config");
    let text = "Host web*\n HostName %h.example\n User deploy\n IdentityFile ~/.ssh/web\n ProxyJump op@bastion:2022\n\
        Match host other\n StrictHostKeyChecking no\n IdentitiesOnly yes\n";
    fs::write(&config, text).expect("a file");
    let asked = Query { config: Some(&config), port: Some(2222), ..query("web1") };
    let settings = resolve_with(ssh.as_os_str(), asked, &operator()).await.expect("settings");
    assert_eq!(
        (settings.host.as_str(), settings.user.as_str(), settings.port),
        ("web1.example", "deploy", 2222)
    );
    assert_eq!(settings.identities, paths(&["/home/op/.ssh/web"]));
    assert_eq!(settings.proxy_jump, ["op@bastion:2022"]);
    assert_eq!(settings.strict, StrictHostKey::Ask);
    let asked = Query { host: "other", ..asked };
    let settings = resolve_with(ssh.as_os_str(), asked, &operator()).await.expect("settings");
    assert_eq!((settings.strict, settings.identities_only), (StrictHostKey::No, true));

    fs::write(&config, "Nonsense yes\n").expect("a file");
    let problem = resolve_with(ssh.as_os_str(), asked, &operator()).await.expect_err("refused");
    assert!(problem.message.starts_with("ssh cannot say how to reach other: "), "{problem}");
}
