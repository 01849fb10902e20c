//! The files that set-up makes, their owners and modes, and what is left when it fails.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{MADE, Place, psk_of, script};
use crate::harness::{run, wait_until};

#[test]
fn files_have_owner_and_mode_that_keep_others_out() {
    let place = Place::new();
    let before = place.listing();
    place.done(&[]);
    let (user, group) = fs::metadata(place.path("state")).map(|state| (state.uid(), state.gid())).unwrap();
    for (name, uid, gid, mode) in [
        ("etc/espm.ini", 0, group, 0o640),
        ("etc/certs/espm.pem", 0, 0, 0o640),
        ("etc/certs/espm.key", 0, 0, 0o600),
        ("state/ledger.sqlite", user, group, 0o600),
        ("state/locks", user, group, 0o700),
        ("state/proofs", user, group, 0o700),
        ("state/cache", user, group, 0o700),
        ("state/unsent", user, group, 0o700),
    ] {
        let found = fs::symlink_metadata(place.path(name)).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (uid, gid, mode), "{name}");
    }
    let after: Vec<_> = place.listing().into_keys().filter(|path| !before.contains_key(path)).collect();
    assert_eq!(after.len(), MADE.len(), "{after:?}");
}

#[test]
fn modes_do_not_depend_on_umask() {
    let place = Place::new();
    for (umask, mode) in [("000", 0o600), ("077", 0o600)] {
        let mut shell = Command::new("sh");
        let inner = place.command(&[]);
        shell.args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", umask]).arg(inner.get_program());
        run(shell.args(inner.get_args()));
        assert_eq!(fs::metadata(place.path("etc/certs/espm.key")).unwrap().mode() & 0o777, mode, "{umask}");
        assert_eq!(fs::metadata(place.path("etc/espm.ini")).unwrap().mode() & 0o777, 0o640, "{umask}");
        for name in MADE {
            let path = place.path(name);
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        }
    }
}

/// A stripped program has no names to look for.
#[cfg(debug_assertions)]
#[test]
fn random_bytes_are_the_kernels_without_jitter_of_the_processor() {
    let has = |name: &str| {
        let program = env!("CARGO_BIN_EXE_espm-setup");
        Command::new("grep").args(["-qaF", name, program]).status().unwrap().success()
    };
    // Of aws-lc, as it is with .cargo/config.toml.
    assert!(has("opt_out_cpu_jitter_entropy_source_methods") && has("CRYPTO_sysrand"));
    assert!(!has("jent_entropy_"), "built without .cargo/config.toml, or aws-lc-sys has another setting now");
}

#[test]
fn psk_is_48_url_safe_characters_kept_as_digest_alone() {
    let mut keys = vec![];
    for _ in 0..2 {
        let place = Place::new();
        let psk = psk_of(&place.done(&[]));
        assert!(psk.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{psk}");
        let ini = place.read("etc/espm.ini");
        let digest = run(Command::new("sh").args(["-c", "printf %s \"$1\" | sha256sum", "sh", &psk]));
        assert!(
            ini.contains(&format!("[client cloud]\nkeys = sha256:{}\n", digest.split(' ').next().unwrap())),
            "{ini}"
        );
        for (path, (_, _, content, _)) in place.listing() {
            assert!(!content.windows(psk.len()).any(|window| window == psk.as_bytes()), "{}", path.display());
        }
        keys.push(psk);
    }
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn certificate_can_be_pinned_by_client() {
    let place = Place::new();
    let printed = place.done(&["--san", "puppet", "--san", "192.0.2.7", "--san", "2001:db8::7", "--san", "puppet"]);
    let verified = place.openssl(&["verify", "-CAfile", "espm.pem", "-purpose", "sslserver", "espm.pem"]);
    assert_eq!(verified.trim(), "espm.pem: OK");
    for host in ["master.example.com", "puppet"] {
        place.openssl(&["verify", "-CAfile", "espm.pem", "-verify_hostname", host, "espm.pem"]);
    }
    for address in ["192.0.2.7", "2001:db8::7"] {
        place.openssl(&["verify", "-CAfile", "espm.pem", "-verify_ip", address, "espm.pem"]);
    }
    let text = place.openssl(&["x509", "-in", "espm.pem", "-noout", "-text"]);
    for part in [
        "Subject: CN = master.example.com",
        "Issuer: CN = master.example.com",
        "NIST CURVE: P-256",
        "Signature Algorithm: ecdsa-with-SHA256",
        "TLS Web Server Authentication",
        "CA:FALSE",
        "DNS:master.example.com, DNS:puppet, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7",
        "Version: 3",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("TLS Web Client Authentication"), "{text}");
    let fingerprint = place.openssl(&["x509", "-in", "espm.pem", "-noout", "-fingerprint", "-sha256"]);
    let fingerprint = fingerprint.trim().split('=').nth(1).unwrap();
    assert!(printed.contains(&format!("SHA-256 fingerprint:\n{fingerprint}\n")), "{printed}");
    assert!(printed.contains(&place.read("etc/certs/espm.pem")), "{printed}");
    assert!(!printed.contains("PRIVATE KEY"), "{printed}");
}

#[test]
fn certificate_is_valid_for_ten_years_from_yesterday() {
    let place = Place::new();
    place.done(&[]);
    let checkend = |days: u32| {
        let seconds = (days * 86_400).to_string();
        let pem = place.path("etc/certs/espm.pem");
        Command::new("openssl").args(["x509", "-noout", "-checkend", &seconds, "-in"]).arg(pem).output().unwrap()
    };
    assert!(checkend(3650).status.success() && !checkend(3653).status.success());
    let start = place.openssl(&["x509", "-in", "espm.pem", "-noout", "-startdate"]);
    let start = run(Command::new("date").args(["+%s", "-d", start.trim().trim_start_matches("notBefore=")]));
    let now = run(Command::new("date").arg("+%s"));
    let age = now.trim().parse::<i64>().unwrap() - start.trim().parse::<i64>().unwrap();
    // Whether little time lies between, none, or the clock was set meanwhile.
    assert!((age - 86_400).abs() < 600, "{age}");
}

#[test]
fn key_of_certificate_has_requested_type() {
    for (key_type, kind) in [("ecdsa", "P-256"), ("rsa", "Public-Key: (3072 bit)")] {
        let place = Place::new();
        place.done(&["--key-type", key_type]);
        let text = place.openssl(&["x509", "-in", "espm.pem", "-noout", "-text"]);
        assert!(text.contains(kind), "{text}");
        place.openssl(&["pkey", "-in", "espm.key", "-check", "-noout"]);
        let of_certificate = place.openssl(&["x509", "-in", "espm.pem", "-noout", "-pubkey"]);
        assert_eq!(of_certificate, place.openssl(&["pkey", "-in", "espm.key", "-pubout"]));
        assert_eq!(place.openssl(&["verify", "-CAfile", "espm.pem", "espm.pem"]).trim(), "espm.pem: OK");
    }
}

#[test]
fn existing_file_is_never_overwritten() {
    let place = Place::new();
    for name in MADE {
        let path = place.path(name);
        for kind in ["file", "directory", "link to nothing"] {
            match kind {
                "file" => fs::write(&path, "mine").unwrap(),
                "directory" => fs::create_dir(&path).unwrap(),
                _ => symlink("/nonexistent", &path).unwrap(),
            }
            let complaint = place.refused(&[]);
            assert!(
                complaint.contains(&format!("nothing is overwritten; these exist already:\n    {}\n", path.display())),
                "{complaint}"
            );
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        }
    }
    place.done(&[]);
    let complaint = place.refused(&[]);
    for name in MADE {
        assert!(complaint.contains(&place.path(name).display().to_string()), "{name}: {complaint}");
    }
}

#[test]
fn missing_directory_is_answered_with_command_that_makes_it() {
    let place = Place::new();
    for (name, options, command) in [
        ("etc/certs", &[][..], "install -d -m 0755"),
        ("state", &[], "install -d -o espm -g espm -m 0750"),
        ("records", &[], "install -d -o www-data -g www-data -m 0700"),
        ("records", &["--authority-user", "pe-puppet"], "install -d -o pe-puppet -g pe-puppet -m 0700"),
        ("records", &["--authority-user", "puppet"], "install -d -o puppet -g puppet -m 0700"),
    ] {
        let path = place.path(name);
        let owner = fs::metadata(&path).unwrap();
        fs::remove_dir(&path).unwrap();
        let complaint = place.refused(options);
        assert!(complaint.ends_with(&format!("make them first:\n    {command} {}\n", path.display())), "{complaint}");
        fs::create_dir(&path).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let elsewhere = place.path("nowhere");
    let complaint = place.refused(&["-d", elsewhere.to_str().unwrap(), "-c", place.path("no/certs").to_str().unwrap()]);
    let (no, certs) = (place.path("no"), place.path("no/certs"));
    let both = format!(
        "    install -d -m 0755 {}\n    install -d -m 0755 {} {}\n",
        elsewhere.display(),
        no.display(),
        certs.display()
    );
    assert!(complaint.ends_with(&both), "{complaint}");
    place.done(&[]);
}

#[test]
fn later_of_two_set_ups_removes_nothing_of_the_earlier() {
    let place = Place::new();
    // This one asks rake for the release, after it has looked whether anything is there.
    let (rake, console) = (place.path("rake"), place.path("console"));
    let tasks = "echo 'rake node:add  # add'; echo 'rake nodeclass:list  # list'";
    script(&rake, &format!("#!/bin/sh\n: >reached\nuntil [ -e go-on ]; do sleep 0.01; done\n{tasks}\n"));
    fs::create_dir(&console).unwrap();
    fs::set_permissions(&console, fs::Permissions::from_mode(0o777)).unwrap();
    let at = |path: &Path| path.display().to_string();
    let words = ["--console-command", &at(&rake), "--console-directory", &at(&console)];
    let mut later = place.command_without(&["--console-release"], &words, &[]);
    later.stdout(Stdio::null()).stderr(Stdio::piped());
    let later = later.spawn().unwrap();
    wait_until("the later one has looked", || console.join("reached").exists());
    place.done(&[]);
    fs::write(console.join("go-on"), "").unwrap();
    let before = place.listing();
    let output = later.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("File exists"), "{output:?}");
    let (left, made) = (place.listing(), before.len());
    assert!(left == before, "{} of {made} are left", left.len());
}

/// A small file system over a directory of a place, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(path: PathBuf, size: &str) -> Self {
        let owner = fs::metadata(&path).unwrap();
        let options = format!("size={size},uid={},gid={},mode=755", owner.uid(), owner.gid());
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "espm-test"]).arg(&path));
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn full_disk_leaves_nothing() {
    let place = Place::new();
    // One page holds the key and not the certificate; two hold a part of the ledger; none is left for espm.ini.
    for (name, size) in [("etc/certs", "4k"), ("state", "8k"), ("etc", "8k")] {
        let disk = SmallDisk::over(place.path(name), size);
        if name == "etc" {
            fs::create_dir(place.path("etc/certs")).unwrap();
            let filler = vec![0; 4096];
            let _ = (0..2).try_for_each(|number| fs::write(place.path(&format!("etc/filler{number}")), &filler));
        }
        let certificates = if name == "etc" { place.path("other") } else { place.path("etc/certs") };
        fs::create_dir_all(&certificates).unwrap();
        let complaint = place.refused(&["-c", certificates.to_str().unwrap()]);
        assert!(complaint.contains("No space left on device") || complaint.contains("the disk is full"), "{complaint}");
        assert!(complaint.contains(place.path(name).to_str().unwrap()), "{complaint}");
        drop(disk);
    }
    place.done(&[]);
}

#[test]
fn unwritable_directory_leaves_nothing() {
    let place = Place::new();
    let other = place.path("other");
    fs::create_dir(&other).unwrap();
    for name in ["etc/certs", "state", "etc"] {
        let path = place.path(name);
        let writable = |how: &str| run(Command::new("mount").args(["-o", how]).arg(&path));
        run(Command::new("mount").arg("--bind").arg(&path).arg(&path));
        writable("remount,bind,ro");
        let elsewhere = ["-c", other.to_str().unwrap()];
        let complaint = place.refused(if name == "etc" { &elsewhere } else { &[] });
        run(Command::new("umount").arg(&path));
        assert!(complaint.contains("Read-only file system") || complaint.contains("os error 30"), "{complaint}");
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    }
    place.done(&[]);
}

#[test]
fn bad_arguments_make_nothing() {
    let place = Place::new();
    for (arguments, complaint) in [
        (&["--client", "Bad Name"][..], "--client Bad Name: a client's name is"),
        (&["--host", "a b"], "\"a b\" is no host name"),
        (&["--san", ""], "\"\" is no host name"),
        (&["--host", &"a".repeat(65)], "is no host name"),
        (&["--listen", "run/espm.sock"], "[espm] listen: want an absolute path"),
        (&["--console-command", "rake -f x"], "[console] command: want a program's absolute path"),
        (&["--console-command", "/rake 'a b'"], "[console] command: want a program's absolute path and plain words"),
        (&["--authority-user", "a b"], "[authority] user: want a user's name"),
    ] {
        let found = place.refused(arguments);
        assert!(found.contains(complaint), "{arguments:?}: {found}");
    }
    for arguments in [&["-p", "0"][..], &["-p", "65536"], &["--key-type", "dsa"], &["--console-release", "9"], &["x"]] {
        let before = place.listing();
        assert_eq!(place.set_up(arguments).status.code(), Some(2), "{arguments:?}");
        assert_eq!(place.listing(), before);
    }
}
