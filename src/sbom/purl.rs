//! Package URLs: names by which scanners find what is known of a package.
//!
//! Specification: ECMA-427; its types `deb`, `rpm` and `apk`. The qualifier `upstream` is not part of it,
//! but what common scanners look at: advisories are written for source packages.

use super::system::System;
use crate::inspect::{Manager, Package};

/// The package URL of a package of some system.
pub(super) fn of(package: &Package, system: &System) -> String {
    let kind = match package.manager {
        Manager::Dpkg => "deb",
        Manager::Apk => "apk",
        Manager::Rpm => "rpm",
    };
    let (epoch, version) = match package.version.split_once(':') {
        Some((epoch, version)) if package.manager == Manager::Rpm => (Some(epoch), version),
        _ => (None, package.version.as_str()),
    };
    let distro = system.full_name();
    let source = package.source.as_deref().map(|source| upstream(source, package.manager));
    let qualifiers = [
        ("arch", Some(package.architecture.as_str())),
        ("distro", Some(distro.as_str())),
        ("epoch", epoch),
        ("upstream", source.as_deref()),
    ];
    // By the specification a qualifier without a value is the same as none.
    let qualifiers: Vec<String> = (qualifiers.iter())
        .filter_map(|(key, value)| Some((key, (*value)?)))
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={}", encoded(value)))
        .collect();
    let [system, name, version] = [&system.id, &package.name, version].map(encoded);
    let at = if version.is_empty() { "" } else { "@" };
    format!("pkg:{kind}/{system}/{name}{at}{version}?{}", qualifiers.join("&"))
}

/// A source package as scanners read it: dpkg's `glibc (2.36-9)` becomes `glibc@2.36-9`.
fn upstream(source: &str, manager: Manager) -> String {
    match source.split_once(" (") {
        Some((name, version)) if manager == Manager::Dpkg => {
            format!("{name}@{}", version.trim_end_matches(')'))
        }
        _ => source.to_owned(),
    }
}

/// Encodes all but what may stand everywhere in a package URL.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'.' | b'-' | b'_' | b'~' | b':' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_s_packages_have_their_form() {
        let system = |id: &str, version: Option<&str>| System {
            id: id.to_owned(),
            version: version.map(str::to_owned),
        };
        let package = |manager, [name, architecture, version]: [&str; 3], source: Option<&str>| {
            let [name, architecture, version] = [name, architecture, version].map(str::to_owned);
            Package { manager, name, architecture, version, source: source.map(str::to_owned) }
        };
        for (package, system, expected) in [
            (
                package(Manager::Dpkg, ["libc-bin", "amd64", "2.36-9+deb12u1"], Some("glibc")),
                system("debian", Some("12")),
                "pkg:deb/debian/libc-bin@2.36-9%2Bdeb12u1?arch=amd64&distro=debian-12&upstream=glibc",
            ),
            (
                package(Manager::Dpkg, ["libstdc++6", "amd64", "1:2~a"], Some("gcc-12 (12.2-14)")),
                system("debian", None),
                "pkg:deb/debian/libstdc%2B%2B6@1:2~a?arch=amd64&distro=debian&upstream=gcc-12%4012.2-14",
            ),
            (
                package(
                    Manager::Rpm,
                    ["dbus", "x86_64", "1:1.12-5.el9"],
                    Some("dbus-1.12-5.src.rpm"),
                ),
                system("almalinux", Some("9.4")),
                "pkg:rpm/almalinux/dbus@1.12-5.el9?arch=x86_64&distro=almalinux-9.4&epoch=1&upstream=\
                 dbus-1.12-5.src.rpm",
            ),
            (
                package(Manager::Apk, ["ssl_client", "x86_64", "1.36.1-r15"], Some("busybox")),
                system("alpine", Some("3.19.1")),
                "pkg:apk/alpine/ssl_client@1.36.1-r15?arch=x86_64&distro=alpine-3.19.1&upstream=busybox",
            ),
            (
                package(Manager::Dpkg, ["never", "", ""], Some("")),
                system("debian", None),
                "pkg:deb/debian/never?distro=debian",
            ),
        ] {
            assert_eq!(of(&package, &system), expected);
        }
    }
}
