//! What the data files must hold to, and how distributions and releases are found.

use super::*;

fn find(name: &str) -> Distro {
    Catalogue::default().find(name).unwrap().clone()
}

#[test]
fn a_distribution_is_found_by_its_name_and_a_slip_is_answered_with_the_right_one() {
    for name in ["alpine", "azurelinux", "debian", "fedora", "ubuntu"] {
        assert_eq!(find(name).name, name);
    }
    for (alias, name) in
        [("suse", "opensuse"), ("cbl-mariner", "azurelinux"), ("almalinux", "alma")]
    {
        assert_eq!(find(alias).name, name);
    }
    let catalogue = Catalogue::default();
    let message = catalogue.find("debain").unwrap_err().to_string();
    let expected = "the distribution \"debain\" is unknown (did you mean \"debian\"?); known are alma, \
                    alpine, azurelinux, centos, clearlinux, debian, euleros, fedora, openeuler, \
                    opensuse, rocky, ubuntu";
    assert_eq!(message, expected);
    assert!(!catalogue.find("x").unwrap_err().to_string().contains("did you mean"));
}

fn traits(systemd: bool, seccomp: bool) -> Traits {
    Traits { systemd, seccomp, selinux: false }
}

#[test]
fn a_release_is_found_by_code_name_number_and_alias() {
    let cases = [
        ("debian", "trixie", "trixie"),
        ("debian", "13", "trixie"),
        ("debian", "stable", "trixie"),
        ("debian", "Trixie", "trixie"),
        ("opensuse", "Tumbleweed", "tumbleweed"),
        ("debian", "12", "bookworm"),
        ("debian", "oldstable", "bookworm"),
        ("debian", "11", "bullseye"),
        ("debian", "testing", "forky"),
        ("debian", "unstable", "sid"),
        ("alpine", "latest-stable", "v3.24"),
        ("alpine", "3.18", "v3.18"),
        ("alpine", "edge", "edge"),
        ("azurelinux", "3.0", "3.0"),
        ("cbl-mariner", "2", "2.0"),
        ("centos", "stream9", "9-stream"),
        ("centos", "7", "7.9.2009"),
        ("suse", "tumbleweed", "tumbleweed"),
        ("suse", "leap", "16.0"),
        ("openeuler", "24.03", "24.03-LTS-SP4"),
        ("rocky", "9", "9"),
        ("rocky", "9.6", "9.6"),
        ("ubuntu", "24.04", "noble"),
        ("ubuntu", "resolute", "resolute"),
    ];
    for (distro, name, codename) in cases {
        assert_eq!(find(distro).release(name).unwrap().codename, codename);
    }
    let debian = find("debian");
    let message = debian.release("trixi").unwrap_err().to_string();
    assert!(message.starts_with("Debian has no release \"trixi\" (did you mean \"trixie\"?)"));
    assert!(debian.release("10.11").is_err());
}

#[test]
fn distributions_are_sorted_by_name() {
    assert!(Catalogue::default().all().is_sorted_by(|a, b| a.name < b.name));
}

#[test]
fn a_release_that_left_the_mirrors_is_found_in_its_archive() {
    for (distro, release, architecture, place) in [
        ("centos", "9", Architecture::X86_64, "https://mirror.stream.centos.org"),
        ("centos", "8", Architecture::X86_64, "https://vault.centos.org/centos"),
        ("centos", "7", Architecture::X86_64, "https://vault.centos.org/centos"),
        ("centos", "7", Architecture::Aarch64, "https://vault.centos.org/altarch"),
        ("rocky", "9", Architecture::X86_64, "https://dl.rockylinux.org/pub/rocky"),
        ("rocky", "9.6", Architecture::X86_64, "https://dl.rockylinux.org/vault/rocky"),
        ("alma", "8.9", Architecture::S390x, "https://vault.almalinux.org"),
    ] {
        let distro = find(distro);
        let first = distro.mirrors_for(distro.release(release).unwrap(), architecture).next();
        assert_eq!(first.unwrap().url, place, "{release}");
    }
    let fedora = find("fedora");
    let last = fedora.mirrors_for(fedora.release("42").unwrap(), Architecture::S390x).last();
    assert!(last.unwrap().url.starts_with("https://archives.fedoraproject.org/"));
}

#[test]
fn kata_s_list_and_the_ports_of_tumbleweed_are_as_kata_and_suse_have_them() {
    let suse = find("suse");
    let names = suse.packages.names(Architecture::X86_64, traits(true, false));
    assert_eq!(names, ["iptables", "libudev1", "systemd"]);
    let tumbleweed = suse.release("tumbleweed").unwrap();
    let suites = |architecture| -> Vec<&str> {
        tumbleweed.suites_for(architecture).map(|suite| suite.name.as_str()).collect()
    };
    assert_eq!(suites(Architecture::S390x), ["ports/zsystems/tumbleweed/repo/oss"]);
    assert_eq!(suites(Architecture::X86_64), ["tumbleweed/repo/oss"]);
    assert_eq!(tumbleweed.database_format, DatabaseFormat::Ndb);
}

#[test]
fn newer_releases_of_rpm_s_family_keep_their_database_below_usr() {
    let below_usr = Some("usr/lib/sysimage/rpm");
    for (distro, version, expected) in [
        ("fedora", "45", below_usr),
        ("centos", "10", below_usr),
        ("centos", "9", None),
        ("rocky", "10", below_usr),
        ("rocky", "10.0", below_usr),
        ("rocky", "9", None),
        ("alma", "10", below_usr),
        ("alma", "10.0", below_usr),
        ("alma", "9", None),
        ("suse", "tumbleweed", below_usr),
        ("azurelinux", "3.0", None),
    ] {
        let distro = find(distro);
        let release = distro.release(version).unwrap();
        assert_eq!(release.database.as_deref(), expected, "{} {version}", distro.name);
    }
}

#[test]
fn each_distribution_of_rpm_s_family_has_kata_s_list_for_either_init() {
    for (distro, agent, systemd, seccomp) in [
        ("alma", "chrony iptables", "systemd", "libseccomp"),
        ("azurelinux", "e2fsprogs kata-packages-uvm", "systemd", "libseccomp"),
        ("centos", "chrony iptables", "systemd", "libseccomp"),
        ("clearlinux", "kmod-bin libudev0-shim", "chrony iptables-bin systemd util-linux-bin", ""),
        ("euleros", "chrony iptables", "systemd", "libseccomp"),
        ("fedora", "chrony iptables", "systemd", "libseccomp"),
        ("openeuler", "chrony iptables", "systemd", "libseccomp"),
        ("opensuse", "iptables libudev1", "systemd", "libseccomp2"),
        ("rocky", "chrony iptables", "systemd", "libseccomp"),
    ] {
        let packages = find(distro).packages;
        for (is_systemd, with_seccomp) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let mut expected: Vec<&str> = agent.split(' ').collect();
            expected.extend(systemd.split(' ').filter(|_| is_systemd));
            expected.extend(Some(seccomp).filter(|name| with_seccomp && !name.is_empty()));
            expected.sort_unstable();
            let mut names = packages.names(Architecture::X86_64, traits(is_systemd, with_seccomp));
            names.sort_unstable();
            assert_eq!(names, expected, "{distro}");
        }
    }
    let rpm = Catalogue::default().all().iter().filter(|d| d.family == Family::Rpm).count();
    assert_eq!(rpm, 9, "a new one belongs into the table");
}

#[test]
fn suites_and_mirrors_are_those_of_the_architecture() {
    let debian = find("debian");
    let suites = |release: &str, architecture| -> Vec<&str> {
        let release = debian.release(release).unwrap();
        release.suites_for(architecture).map(|suite| suite.name.as_str()).collect()
    };
    assert_eq!(
        suites("12", Architecture::X86_64),
        ["bookworm", "bookworm-updates", "bookworm-security"]
    );
    assert_eq!(suites("12", Architecture::S390x), ["bookworm", "bookworm-updates"]);
    let ubuntu = find("ubuntu");
    let release = &ubuntu.releases[0];
    let ports: Vec<_> =
        ubuntu.mirrors_for(release, Architecture::Aarch64).map(|m| &m.url).collect();
    assert_eq!(ports, ["http://ports.ubuntu.com/ubuntu-ports"]);
}

#[test]
fn kata_s_package_list_depends_on_init_seccomp_and_the_guest_s_processor() {
    let packages = find("ubuntu").packages;
    let base = ["chrony", "cryptsetup-bin", "dbus", "e2fsprogs", "iptables"];
    assert_eq!(packages.names(Architecture::X86_64, traits(false, false)), base);
    let systemd = packages.names(Architecture::X86_64, traits(true, true));
    assert!(systemd.contains(&"init") && systemd.contains(&"libseccomp2"));
    assert!(packages.names(Architecture::S390x, traits(false, false)).contains(&"libcurl4"));
}

/// As Kata's builder for CentOS asks for them.
#[test]
fn a_guest_with_labels_has_the_policy_that_makes_them() {
    for name in ["centos", "alma", "rocky", "fedora"] {
        let distro = find(name);
        let traits = Traits { selinux: true, ..traits(true, true) };
        let names = distro.packages.names(Architecture::X86_64, traits);
        assert!(names.contains(&"container-selinux"), "{name}");
    }
}
