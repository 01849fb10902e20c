//! Orders of the user espm to espm-helper, as the console's user and as the CA's.

use std::fs;
use std::process::Command;

use super::{AUTHORITY, CONSOLE, add, task, verb};
use crate::harness::{Site, run};

/// Names that are none, or nobody's to touch.
const HOSTILE: [&str; 22] = [
    "",
    "--all",
    "-T",
    "ca",
    "localhost",
    "0x1f",
    "0x0",
    "WEB01",
    "Master.example.com",
    "web01 ",
    "web01,db01",
    "web01\\n",
    "web01\\u0000",
    "*",
    ".*",
    "web0[1]",
    "master.example.co.",
    "../ca_key",
    "/etc/passwd",
    "web01=x",
    "\\uff57eb01",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

#[test]
fn invalid_order_runs_nothing_and_is_one_line() {
    let site = Site::installed();
    let before = site.untouched();
    let node = |member: &str| {
        task(&format!(
            r#"{{"task":"add","node":{{"name":"web01","groups":[],"classes":[],"parameters":{{}},{member}}}}}"#
        ))
    };
    let with = |groups: &str, classes: &str, parameters: &str| {
        task(&format!(
            r#"{{"task":"add","node":{{"name":"web01","groups":{groups},"classes":{classes},"parameters":{parameters}}}}}"#
        ))
    };
    let nested = format!(r#"{{"task":{}"#, "[".repeat(100_000));
    let objects = format!(r#"{{"task":{}"#, r#"{"task":"#.repeat(100_000));
    let huge = format!(r#"{{"task":{{"task":"nodes"}},"limit":1{}}}"#, " ".repeat(600 * 1024));
    let long = add(&"a".repeat(500 * 1024));
    let mut to_console = vec![
        String::new(),
        "{}".into(),
        "null".into(),
        "[]".into(),
        "\u{feff}{}".into(),
        nested,
        objects,
        huge,
        long,
        // Tasks of its own.
        task(r#""db:drop""#),
        task(r#"{"task":"db:drop"}"#),
        task(r#"{"task":"nodes db:drop"}"#),
        task(r#"{"task":"node:del","name":"foreign.example.com"}"#),
        task(r#"{"task":"names","list":"db:drop"}"#),
        task(r#"{"task":"names","list":"classes -f /tmp/Rakefile"}"#),
        task(r#"{"task":["nodes","db:drop"]}"#),
        task("{\"task\":\"db\\ndrop\"}"),
        // Members that come twice, that are not known, and orders that are not alone.
        r#"{"task":{"task":"nodes"},"task":{"task":"tasks"},"limit":1}"#.into(),
        r#"{"task":{"task":"nodes","task":"tasks"},"limit":1}"#.into(),
        r#"{"task":{"task":"nodes"},"limit":1,"limit":2}"#.into(),
        r#"{"task":{"task":"nodes"},"limit":1,"directory":"/tmp"}"#.into(),
        r#"{"task":{"task":"nodes"},"limit":1}{"task":{"task":"tasks"},"limit":1}"#.into(),
        node(r#""name":"foreign.example.com""#),
        node(r#""groups":["default"]"#),
        // Limits that are none.
        r#"{"task":{"task":"nodes"}}"#.into(),
        r#"{"task":{"task":"nodes"},"limit":-1}"#.into(),
        r#"{"task":{"task":"nodes"},"limit":1e400}"#.into(),
        r#"{"task":{"task":"nodes"},"limit":18446744073709551616}"#.into(),
        // What rake would split, or read as something else.
        with(r#"["a,b"]"#, "[]", "{}"),
        with(r#"["a\nb"]"#, "[]", "{}"),
        with("[]", r#"["a,b"]"#, "{}"),
        with("[]", "[]", r#"{"a":"1,b=2"}"#),
        with("[]", "[]", r#"{"a=b":"1"}"#),
        with("[]", "[]", r#"{"a":"--- !ruby/object:Object {}"}"#),
        with("[]", "[]", r#"{"a":"1","b":"2","a":"3"}"#),
    ];
    for name in HOSTILE {
        to_console.push(add(name));
        to_console.push(task(&format!(r#"{{"task":"delete","name":"{name}","groups":[]}}"#)));
    }
    for order in to_console {
        let came = site.attack(CONSOLE, &order);
        assert!(came.stderr.starts_with("espm-helper: the request is malformed: "), "{:.200}: {came:?}", order);
        came.refused(65, "espm-helper: ");
    }
    let mut to_authority = vec![
        r#"{"verb":"show","verb":"revoke","name":"web01","limit":1}"#.into(),
        r#"{"verb":"show","name":"web01","name":"foreign.example.com","limit":1}"#.into(),
        r#"{"verb":"show","name":["web01"],"limit":1}"#.into(),
        r#"{"verb":"show","name":"web01","limit":1,"records":"/tmp"}"#.into(),
    ];
    to_authority.extend(
        ["sign", "clean", "list", "print", "destroy", "revoke --all", "Revoke"].map(|word| verb(word, "web01")),
    );
    to_authority.extend(HOSTILE.map(|name| verb("revoke", name)));
    // Trusted facts that authorize, or are spelt in another way.
    let facts = |facts: &str| {
        format!(r#"{{"verb":"generate","name":"web01","limit":1,"asked":{{"extensions":{facts},"csr":null}}}}"#)
    };
    to_authority.extend(
        ["3.1", "3.13", "3.39", "1.9812", "1.013"].map(|oid| facts(&format!(r#"{{"1.3.6.1.4.1.34380.1.{oid}":"x"}}"#))),
    );
    to_authority.extend(
        [r#"{"2.5.29.17":"x"}"#, r#"{"pp_role":"x","1.3.6.1.4.1.34380.1.1.13":"x"}"#, r#"{"pp_role":"a\nb"}"#, "[]"]
            .map(facts),
    );
    for order in to_authority {
        site.attack(AUTHORITY, &order).refused(65, "espm-helper: the request is malformed: ");
    }
    let own = r#"{"verb":"generate","name":"web01","limit":1,"asked":{"extensions":{},"csr":"CSR"}}"#;
    site.attack(AUTHORITY, own).refused(65, "espm-helper: the client's request for a certificate is malformed");
    let invalid = [b"{\"verb\":\"show\",\"name\":\"".as_slice(), b"\xff\xfe", b"\",\"limit\":1}"].concat();
    site.attack(AUTHORITY, invalid).refused(65, "espm-helper: the request is malformed: ");
    assert_eq!(site.untouched(), before);
}

#[test]
fn name_of_master_and_certificate_of_human_are_out_of_reach() {
    let site = Site::installed();
    let (master, foreign) = ("master.example.com", "foreign.example.com");
    site.puppet(&["cert", "generate", foreign]);
    let before = site.untouched();
    for (act, answer) in [("generate", "listed"), ("show", "foreign"), ("revoke", "foreign")] {
        site.attack(AUTHORITY, verb(act, master)).refused(65, "espm-helper: the master's own name is not touched");
        site.attack(AUTHORITY, verb(act, foreign)).done(&format!("{{\"answer\":\"{answer}\""));
    }
    let delete = format!(r#"{{"task":"delete","name":"{master}","groups":[]}}"#);
    for order in [add(master), task(&delete)] {
        site.attack(CONSOLE, order).refused(65, "espm-helper: the master's own name is not touched");
    }
    // A record of the attacker's own would make a certificate espm's.
    let record =
        serde_json::json!({"state": "issued", "certificate": site.file(&format!("ca/ca/signed/{master}.pem"))});
    let forged = site.write("forged.json", &record.to_string());
    let places = [
        format!("cp {forged} /opt/espm/authority/{master}.json"),
        format!("ln -s {forged} /opt/espm/authority/{foreign}.json"),
        "mv /opt/espm/authority /opt/espm/authority.old".to_owned(),
        "mv /opt/espm/etc/espm.ini /opt/espm/etc/espm.old".to_owned(),
        "echo x >>/opt/espm/etc/espm.ini".to_owned(),
        "echo x >/opt/espm/bin/espm-helper".to_owned(),
        format!("ln -s /etc/passwd {}/console/planted", site.dir.display()),
    ];
    for attack in places {
        let came = site.attack(&attack, "");
        assert!(came.code != 0 && came.stderr.contains("ermission denied"), "{attack}: {came:?}");
    }
    // Keys, records, the TLS key, the console's database.
    for secret in [
        format!("{}/ca/ca/ca_key.pem", site.dir.display()),
        format!("{}/ca/ssl/private_keys/{master}.pem", site.dir.display()),
        format!("{}/ca/ssl/private_keys/{foreign}.pem", site.dir.display()),
        "/opt/espm/authority/lock".to_owned(),
        "/opt/espm/etc/certs/espm.key".to_owned(),
        "/etc/shadow".to_owned(),
        "/etc/sudoers.d/espm".to_owned(),
    ] {
        assert!(fs::metadata(&secret).is_ok() || secret.starts_with("/opt") || secret.starts_with("/etc"), "{secret}");
        let came = site.attack(&format!("cat {secret}"), "");
        assert!(came.code != 0 && came.stdout.is_empty() && came.stderr.contains("ermission denied"), "{came:?}");
    }
    assert_eq!(site.untouched(), before);
    // The CA still says that the master's certificate is good.
    let ca = site.dir.join("ca/ca");
    let verified = run(Command::new("openssl")
        .args(["verify", "-crl_check", "-CAfile"])
        .arg(ca.join("ca_crt.pem"))
        .arg("-CRLfile")
        .arg(ca.join("ca_crl.pem"))
        .arg(ca.join(format!("signed/{master}.pem"))));
    assert!(verified.ends_with("OK\n"), "{verified}");
}

#[test]
fn link_at_any_path_of_ca_user_is_not_followed() {
    let site = Site::installed();
    let (name, victim) = ("web01.example.com", site.write("victim", "untouched"));
    run(site.inside("chown").args(["pe-puppet:pe-puppet", &victim]));
    let plant = |place: &str| {
        site.attack_as("pe-puppet", &format!("ln -s {victim} {place}"), "").done("");
    };
    let remove = |place: &str| site.attack_as("pe-puppet", &format!("rm -f {place}"), "").done("");
    let record = format!("/opt/espm/authority/{name}.json");
    plant(&record);
    for act in ["generate", "show", "revoke"] {
        site.attack(AUTHORITY, verb(act, name)).done("is a symbolic link, which is not followed");
    }
    remove(&record);
    remove("/opt/espm/authority/lock");
    plant("/opt/espm/authority/lock");
    for act in ["generate", "revoke"] {
        site.attack(AUTHORITY, verb(act, name)).done("is a symbolic link, which is not followed");
    }
    remove("/opt/espm/authority/lock");
    assert_eq!(site.runs("ca").len(), 0);
    // At the place of what a command prints, one is put away, and the file is made anew.
    plant(&format!("/opt/espm/authority/{name}.proof"));
    site.attack(AUTHORITY, verb("generate", name)).done(r#""answer":"generated""#);
    assert_eq!(site.file("victim"), "untouched");
    let signed = site.dir.join(format!("ca/ca/signed/{name}.pem")).display().to_string();
    remove(&signed);
    plant(&signed);
    for act in ["generate", "show", "revoke"] {
        site.attack(AUTHORITY, verb(act, name)).done("is a symbolic link, which is not followed");
    }
    assert_eq!(site.file("victim"), "untouched");
}

#[test]
fn unfinished_order_is_given_up() {
    let site = Site::installed();
    let before = site.untouched();
    std::thread::scope(|scope| {
        let asked = [(CONSOLE, ""), (AUTHORITY, ""), (AUTHORITY, r#"{"verb":"show","#)].map(|(helper, begun)| {
            let site = &site;
            // The shell itself keeps the pipe open.
            let pipe = "d=$(mktemp -d -p /tmp) && mkfifo $d/p && exec 9<>$d/p && rm -r $d";
            let script = format!("{pipe} && printf '%s' '{begun}' >&9 && exec {helper} <&9");
            scope.spawn(move || site.attack(&script, ""))
        });
        for asked in asked {
            asked.join().unwrap().refused(65, "espm-helper: the request cannot be read: its end does not come");
        }
    });
    assert_eq!(site.untouched(), before);
}
