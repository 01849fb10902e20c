//! The Puppet that set-up finds, Debian's or the vendor's, of which version, and what it writes about it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Place, script};
use crate::harness::run;

/// Makes the programs of a Puppet installation, which answers as the vendor's does: the agent of the same machine has
/// another name. Up to version 5 there is no section "server".
fn install_puppet(bin: &Path, version: &str, programs: &[&str]) {
    fs::create_dir_all(bin).unwrap();
    let server = if version.starts_with(['7', '8']) { "server" } else { "master" };
    for program in programs {
        script(
            &bin.join(program),
            &format!(
                "#!/bin/sh
[ \"$1\" != --version ] || {{ echo '{version}'; exit; }}
# Version 2.7 has no --section.
case '{version} '$1 in 2.7*master) shift 2; set -- $(echo \"$1\" | tr , ' ') --section master;; 2.7*) exit 1;; *) shift 2;; esac
keys='' section=main
while [ $# -gt 0 ]; do
    case $1 in --section) section=$2; shift ;; *) keys=\"$keys $1\" ;; esac
    shift
done
[ $section = {server} ] && name=master.example.com dir=/srv/puppet || name=host17.example.com dir=/etc/puppetlabs/puppet
for key in $keys; do
    case $key in
        ssldir) value=$dir/ssl ;; cadir) value=$dir/ca ;; certname) value=$name ;; user) value=nobody ;;
        config) value=/etc/puppetlabs/puppet/puppet.conf ;; confdir) value=/etc/puppetlabs/puppet ;;
        vardir) value=/var/lib/puppet ;; codedir) value=/etc/puppetlabs/code ;; logdir) value=/var/log/puppet ;;
        rundir) value=/run/puppet ;; ca_port) value=8141 ;; *) continue ;;
    esac
    [ \"$keys\" = \" $key\" ] && echo $value || echo \"$key = $value\"
done
"
            ),
        );
    }
}

/// A section of the espm.ini that set-up wrote, without comments.
fn section(place: &Place, name: &str) -> String {
    let ini = place.read("etc/espm.ini");
    let (_, after) = ini.split_once(&format!("[{name}]\n")).unwrap();
    let lines = after.lines().take_while(|line| !line.starts_with('['));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// The value of a key of `[authority]`.
fn value(place: &Place, key: &str) -> String {
    let section = section(place, "authority");
    let line = section.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
    line.unwrap_or_else(|| panic!("{key}: {section}")).to_owned()
}

/// Where a test's `kind = enc` keeps its nodes.
fn with_published(place: &Place) -> String {
    let published = place.path("nodes");
    fs::create_dir(&published).unwrap();
    published.display().to_string()
}

#[test]
fn configuration_has_values_of_debian_puppet() {
    let place = Place::new();
    let published = with_published(&place);
    place.done(&["--detect", "--published", &published]);
    let asked = run(Command::new("/usr/bin/puppet").args(["config", "print", "certname", "--section", "server"]));
    assert_eq!(
        section(&place, "authority"),
        format!(
            "kind = puppet-ca-api\nconfig = /etc/puppet/puppet.conf\nkey = rsa-3072\naddress = 127.0.0.1:8140\n\
             user = puppet\nssldir = /var/lib/puppet/ssl\ncadir = /etc/puppet/puppetserver/ca\n\
             records = {}\nmaster = {}",
            place.path("records").display(),
            asked.trim()
        )
    );
    assert!(section(&place, "console").starts_with("kind = enc\n"));
}

#[test]
fn real_puppet_is_asked_for_section_of_server() {
    for name in ["server", "master"] {
        let place = Place::new();
        let published = with_published(&place);
        fs::create_dir(place.path("bin")).unwrap();
        let conf = format!(
            "[main]\nserver = puppet.example.com\n[agent]\ncertname = host17.example.com\n\
             [{name}]\ncertname = puppet.example.com\nssldir = /srv/puppet/ssl\ncadir = /srv/puppet/ca\nuser = games\n"
        );
        fs::write(place.path("puppet.conf"), conf).unwrap();
        let conf = place.path("").display().to_string();
        script(&place.path("bin/puppet"), &format!("#!/bin/sh\nexec /usr/bin/puppet \"$@\" --confdir={conf}\n"));
        script(&place.path("bin/puppetserver"), "#!/bin/sh\n");
        place.done(&["--detect", &place.path("bin/puppet").display().to_string(), "--published", &published]);
        for (key, wanted) in [
            ("master", "puppet.example.com"),
            ("ssldir", "/srv/puppet/ssl"),
            ("cadir", "/srv/puppet/ca"),
            ("user", "games"),
        ] {
            assert_eq!(value(&place, key), wanted, "[{name}]");
        }
    }
}

#[test]
fn vendor_puppet_is_taken_before_distribution_puppet() {
    let place = Place::new();
    let published = with_published(&place);
    install_puppet(&place.path("opt/puppetlabs/bin"), "8.10.0", &["puppet", "puppetserver"]);
    // A private /opt, so that the machine's own stays as it is.
    let opt = place.path("opt").display().to_string();
    let through = ["unshare", "--mount", "sh", "-c", "mount --bind \"$0\" /opt && exec \"$@\"", &opt];
    run(&mut place.command_without(&[], &["--detect", "--published", &published], &through));
    let authority = section(&place, "authority");
    let found = "kind = puppet-ca-api\nconfig = /etc/puppetlabs/puppet/puppet.conf\nkey = rsa-3072\n\
                 address = 127.0.0.1:8141\nuser = nobody\nssldir = /srv/puppet/ssl\n\
                 cadir = /srv/puppet/ca\n";
    assert!(authority.starts_with(found), "{authority}");
    assert!(authority.ends_with("master = master.example.com"), "{authority}");
    assert!(section(&place, "console").starts_with("kind = enc\n"));
}

#[test]
fn command_of_newer_puppet_is_taken_where_it_is_asked_for() {
    let command = |place: &Place| format!("{} ca", place.path("bin/puppetserver").display());
    for by_command in [false, true] {
        let place = Place::new();
        let published = with_published(&place);
        install_puppet(&place.path("bin"), "8.10.0", &["puppet", "puppetserver"]);
        let (puppet, command) = (place.path("bin/puppet").display().to_string(), command(&place));
        let asked =
            if by_command { ["--authority-command", &command] } else { ["--authority-kind", "puppetserver-ca"] };
        place.done(&[&["--detect", &puppet, "--published", &published][..], &asked].concat());
        for (key, wanted) in
            [("kind", "puppetserver-ca"), ("command", &command), ("config", "/etc/puppetlabs/puppet/puppet.conf")]
        {
            assert_eq!(value(&place, key), wanted);
        }
        assert!(!section(&place, "authority").contains("address"));
    }
}

#[test]
fn puppet_3_to_5_is_told_its_directories_and_has_section_master() {
    let home =
        "--confdir /etc/puppetlabs/puppet --vardir /var/lib/puppet --logdir /var/log/puppet --rundir /run/puppet";
    for (version, options) in [
        ("2.7.26 (Puppet Enterprise 2.8.1)", String::new()),
        ("3.8.7", format!(" {home}")),
        ("5.5.22", format!(" {home} --codedir /etc/puppetlabs/code")),
    ] {
        // The server of version 4 and 5 is a program of its own already, whose CA is still "puppet cert".
        let place = Place::new();
        let published = with_published(&place);
        install_puppet(&place.path("bin"), version, &["puppet", "puppetserver"]);
        let puppet = place.path("bin/puppet").display().to_string();
        let printed = place.done(&["--detect", &puppet, "--published", &published]);
        assert_eq!(value(&place, "kind"), "puppet-cert", "{version}");
        assert_eq!(value(&place, "command"), format!("{puppet} cert{options}"), "{version}");
        assert_eq!(value(&place, "master"), "master.example.com", "{version}");
        assert_eq!(value(&place, "ssldir"), "/srv/puppet/ssl", "{version}");
        let sets = printed.matches(&format!("{puppet} config set --section master ")).count();
        assert!(sets == 2 && !printed.contains("--section server"), "{printed}");
    }
}

#[test]
fn puppet_6_without_server_is_refused() {
    let place = Place::new();
    for version in ["6.28.0", "8.10.0"] {
        install_puppet(&place.path("bin"), version, &["puppet"]);
        let puppet = place.path("bin/puppet").display().to_string();
        let complaint = place.refused(&["--detect", &puppet]);
        let server = place.path("bin/puppetserver");
        let wanted = format!("{puppet} is version {}, whose CA is {}, and that", &version[..1], server.display());
        assert!(complaint.contains(&wanted), "{complaint}");
    }
}

#[test]
fn puppet_without_answer_is_error_with_command_to_run() {
    let place = Place::new();
    fs::create_dir(place.path("bin")).unwrap();
    let path = place.path("bin/puppet");
    script(&path, "#!/bin/sh\nexit 1\n");
    let puppet = path.display().to_string();
    let complaint = place.refused(&["--detect", &puppet]);
    assert_eq!(complaint, format!("espm: {puppet} --version failed; run it by hand to see why\n"));
    script(&path, "#!/bin/sh\n[ \"$1\" = --version ] && echo 5.5.22 || exit 1\n");
    let complaint = place.refused(&["--detect", &puppet]);
    assert!(complaint.starts_with(&format!("espm: {puppet} config print ssldir cadir ")), "{complaint}");
    assert!(complaint.ends_with(" --section master failed; run it by hand to see why\n"), "{complaint}");
    script(&path, "#!/bin/sh\n[ \"$1\" = --version ] && echo 5.5.22 || echo 'ssldir = /x'\n");
    let complaint = place.refused(&["--detect", &puppet]);
    assert!(complaint.contains("config print did not print "), "{complaint}");
}

#[test]
fn master_is_what_puppet_says_and_never_guessed_from_host() {
    let place = Place::new();
    install_puppet(&place.path("bin"), "3.8.7", &["puppet"]);
    let command = format!("{} cert", place.path("bin/puppet").display());
    let words = ["--authority-command", &command, "--host", "host17.example.com"];
    run(&mut place.command_without(&["--master"], &words, &[]));
    assert_eq!(value(&place, "master"), "master.example.com");

    let place = Place::new();
    let complaint = place.refused_to(&mut place.command_without(&["--master"], &[], &[]));
    assert!(complaint.contains("the master's certname is not known: /bin/true does not print it"), "{complaint}");
    assert!(complaint.contains("give --master CERTNAME"), "{complaint}");
}

#[test]
fn certificate_of_host_with_short_name_has_both_names() {
    let place = Place::new();
    let hosts = "127.0.0.1 localhost\n127.0.1.1 puppet.example.com puppet\n";
    fs::write(place.path("hosts"), hosts).unwrap();
    let at = place.path("hosts").display().to_string();
    let mounted = "hostname puppet && mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    run(&mut place.command_without(&["--host"], &[], &["unshare", "--mount", "--uts", "sh", "-c", mounted, &at]));
    let text = place.openssl(&["x509", "-in", "espm.pem", "-noout", "-text"]);
    assert!(text.contains("Subject: CN = puppet.example.com"), "{text}");
    assert!(text.contains("DNS:puppet.example.com, DNS:puppet\n"), "{text}");
}
