//! The one place that reads the environment and the clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use osbuilder::epoch::Epoch;
use osbuilder::fetch::{Network, Proxies};

/// What the program's surroundings say.
#[derive(Debug)]
pub(super) struct Environment {
    variables: BTreeMap<String, String>,
    /// Now.
    pub(super) now: Epoch,
}

impl Environment {
    /// Reads environment and clock, once.
    pub(super) fn read() -> Self {
        let texts = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self { variables: texts.collect(), now: now() }
    }

    /// The variables, by name; those that are not text are left out.
    pub(super) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The network as the customary variables describe it, in lower or upper case.
    pub(super) fn network(&self) -> Network {
        let either = |lower: &str| {
            let upper = lower.to_ascii_uppercase();
            self.get(lower).or_else(|| self.get(&upper)).map(str::to_owned)
        };
        let proxies = Proxies {
            // The upper-case form of this one can be set by a web server's clients.
            http: self.get("http_proxy").map(str::to_owned),
            https: either("https_proxy"),
            all: either("all_proxy"),
            no_proxy: either("no_proxy"),
        };
        Network { proxies, ..Network::default() }
    }

    /// The user's folder for caches: `$XDG_CACHE_HOME/osbuilder`, else `~/.cache/osbuilder`, else
    /// `.osbuilder-cache` here for a user without a home.
    ///
    /// Under sudo, `HOME` may be the caller's and the cache somebody else's; root then has its own.
    pub(super) fn cache(&self) -> PathBuf {
        let is_root = rustix::process::geteuid().is_root();
        if is_root && self.get("SUDO_UID").is_some() {
            return PathBuf::from("/var/cache/osbuilder");
        }
        let base = self.get("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || self.get("HOME").map(|home| PathBuf::from(home).join(".cache"));
        match base.or_else(home) {
            Some(base) => base.join("osbuilder"),
            None => PathBuf::from(".osbuilder-cache"),
        }
    }

    /// The user's folder for configuration: `$XDG_CONFIG_HOME/osbuilder`, else `~/.config/osbuilder`.
    pub(super) fn configuration(&self) -> Option<PathBuf> {
        let base = self.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || self.get("HOME").map(|home| PathBuf::from(home).join(".config"));
        Some(base.or_else(home)?.join("osbuilder"))
    }

    /// A program, where the shell would find it.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        let folders = std::env::split_paths(self.get("PATH").unwrap_or("/usr/bin:/bin"));
        folders.map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// The folder for temporary files: `$TMPDIR`, else `/tmp`.
    pub(super) fn temporary(&self) -> PathBuf {
        self.get("TMPDIR").unwrap_or("/tmp").into()
    }

    /// The user who called sudo, and the group: whose the outputs shall be.
    pub(super) fn caller(&self) -> Option<(u32, u32)> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        Some((self.get("SUDO_UID")?.parse().ok()?, self.get("SUDO_GID")?.parse().ok()?))
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line hands the time to the library")]
fn now() -> Epoch {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Epoch::new(since.as_secs()).unwrap_or_default()
}
