//! Configurations, directories and programs that espm-helper trusts, by owner and mode.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use super::{AUTHORITY, CONSOLE, task, verb};
use crate::harness::{Site, run};

fn list() -> String {
    task(r#"{"task":"names","list":"groups"}"#)
}

#[test]
fn configuration_not_of_root_or_writable_by_others_is_refused() {
    let site = Site::installed();
    let espm: u32 = run(site.inside("id").args(["-u", "espm"])).trim().parse().unwrap();
    site.attack(CONSOLE, list()).done("web servers\n");
    let before = site.untouched();
    // The file and every directory above it up to where the site's own begin.
    for (place, good) in [("etc/espm.ini", 0o640), ("opt/espm/etc", 0o755), ("opt/espm", 0o755), ("opt", 0o755)] {
        let path = site.dir.join(place);
        let known = if place == "etc/espm.ini" { "/opt/espm/etc/espm.ini".to_owned() } else { format!("/{place}") };
        let complains = |words: &str| {
            let words = format!("espm-helper: {known}: {words}");
            site.attack(CONSOLE, list()).refused(78, &words);
            site.attack(AUTHORITY, verb("show", "web01")).refused(78, &words);
        };
        for mode in [good | 0o020, good | 0o002] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            complains(&format!("others can write it (mode {mode:04o}); chmod go-w {known}"));
        }
        fs::set_permissions(&path, Permissions::from_mode(good)).unwrap();
        chown(&path, Some(espm), None).unwrap();
        complains(&format!("is owned by user {espm}, want root"));
        chown(&path, Some(0), None).unwrap();
    }
    site.attack(CONSOLE, list()).done("web servers\n");
    // Records where another decides which they are.
    let between = site.dir.join("between");
    run(site.inside("install").args(["-d", "-o", "espm", "-m", "0755"]).arg(&between));
    run(site.inside("install").args(["-d", "-o", "pe-puppet", "-m", "0700"]).arg(between.join("records")));
    site.configure("authority", &format!("records = {}/records", between.display()));
    let came = site.attack(AUTHORITY, verb("show", "web01"));
    came.done(&format!("between: is owned by user {espm}, want root or the user that reads it"));
    assert_eq!((site.runs("console").len(), site.untouched().1), (before.0 + 1, before.1));
}

/// Behind sudo, which compares the words, this is the second wall: paths that sudo would never let pass.
#[test]
fn path_leading_elsewhere_is_refused_without_sudo() {
    let site = Site::installed();
    let lair = site.dir.join("lair");
    run(site.inside("install").args(["-d", "-o", "espm", "-g", "espm", "-m", "0755"]).arg(&lair));
    let lair = lair.display().to_string();
    site.attack(&format!("cp /opt/espm/etc/espm.ini {lair}/evil.ini; chmod 0644 {lair}/evil.ini"), "").done("");
    site.attack(&format!("ln -s /opt/espm/etc/espm.ini {lair}/link.ini; ln -s /opt/espm/etc {lair}/way"), "").done("");
    // A configuration of root's that lies where others decide which it is.
    let sticky = site.dir.join("sticky");
    run(site.inside("install").args(["-d", "-m", "1777"]).arg(&sticky));
    run(site.inside("install").args(["-d", "-m", "0777"]).arg(site.dir.join("open")));
    let text = fs::read_to_string(site.ini()).unwrap();
    for name in ["open/espm.ini", "sticky/espm.ini"] {
        site.write(name, &text);
    }
    site.attack(&format!("ln -s /opt/espm/etc {}/way", sticky.display()), "").done("");
    let dir = site.dir.display();
    let before = site.untouched();
    for (path, words) in [
        (format!("{lair}/evil.ini"), "want root"),
        (format!("{lair}/link.ini"), "want root"),
        (format!("{lair}/way/espm.ini"), "want root"),
        (format!("/opt/espm/../../{lair}/evil.ini"), "want root"),
        (format!("{dir}/open/espm.ini"), "others can write it (mode 0777)"),
        (format!("{dir}/sticky/way/espm.ini"), "want root"),
        ("/proc/self/fd/3".to_owned(), "want root"),
        ("/dev/fd/3".to_owned(), "want root"),
        ("/dev/stdin".to_owned(), "/dev/stdin: "),
        ("/proc/self/cwd/lair/evil.ini".to_owned(), "want root"),
        ("/opt/espm/etc".to_owned(), "is not a regular file"),
        ("/dev/zero".to_owned(), "is not a regular file"),
        ("/opt/espm/etc/none.ini".to_owned(), "No such file"),
        (String::new(), ": "),
    ] {
        let script = format!("cd {dir}; exec /opt/espm/bin/espm-helper console '{path}' 3<{lair}/evil.ini");
        site.attack_as("puppet-dashboard", &script, list()).refused(78, words);
    }
    assert_eq!(site.untouched(), before);
    // In a directory where each may remove only its own, root's is root's.
    let script = format!("exec /opt/espm/bin/espm-helper console {dir}/sticky/espm.ini");
    site.attack_as("puppet-dashboard", &script, list()).done("web servers\n");
    // Other words are refused before anything is opened.
    for words in ["", "console", "console a b", "nothing /opt/espm/etc/espm.ini", "--help", "-c x", "CONSOLE x"] {
        let came = site.attack_as("puppet-dashboard", &format!("exec /opt/espm/bin/espm-helper {words}"), list());
        came.refused(64, "espm-helper: ");
    }
}
