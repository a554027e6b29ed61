//! Which mounts are meant. A library of its own, so that its tests run on the machine that builds it.

use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Mount {
    pub mount: String,
    pub device: String,
    pub fstype: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_total: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_available: Option<u64>,
}

/// Whether a path is that of a mount or below it.
fn is_on(path: &str, mount: &str) -> bool {
    path.strip_prefix(mount).is_some_and(|rest| mount == "/" || rest.is_empty() || rest.starts_with('/'))
}

/// Those of these types; with a path the innermost that it is on.
pub fn chosen(mounts: Vec<Mount>, path: Option<&str>, types: &[String]) -> Vec<Mount> {
    let of_type = |mount: &Mount| types.is_empty() || types.contains(&mount.fstype);
    match path {
        None => mounts.into_iter().filter(of_type).collect(),
        Some(path) => {
            let inner = mounts.into_iter().filter(|mount| is_on(path, &mount.mount));
            inner.max_by_key(|mount| mount.mount.len()).filter(of_type).into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_the_innermost() {
        let all: Vec<Mount> = [("/", "ext4"), ("/srv", "xfs"), ("/srv/data", "nfs4")]
            .map(|(mount, fstype)| Mount { mount: mount.into(), fstype: fstype.into(), ..Mount::default() })
            .into();
        let points = |path: Option<&str>, types: &[&str]| {
            let types: Vec<String> = types.iter().map(|kind| kind.to_string()).collect();
            chosen(all.clone(), path, &types).into_iter().map(|mount| mount.mount).collect::<Vec<_>>()
        };
        assert_eq!(points(None, &[]), ["/", "/srv", "/srv/data"]);
        assert_eq!(points(None, &["xfs", "ext4"]), ["/", "/srv"]);
        for (path, mount) in [("/", "/"), ("/srvx", "/"), ("/srv", "/srv"), ("/srv/data/a", "/srv/data")] {
            assert_eq!(points(Some(path), &[]), [mount], "{path}");
        }
        assert!(points(Some("/srv"), &["ext4"]).is_empty());
    }
}
