//! Launches with trusted facts, and with a key that the client makes itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{client, expect_usable, launch, says};
use crate::harness::certificates::{openssl, valid};
use crate::harness::{Plan, Site, run};

fn site() -> Site {
    Site::with(Plan { ini: vec![("client cloud", "extensions = pp_role=w*")], ..Plan::default() })
}

#[test]
fn launch_asks_for_trusted_facts() {
    let site = site();
    let ssldir = site.dir.join("ssl");
    let words = ["--ssldir", ssldir.to_str().unwrap(), "--extension", "pp_role=w=b"];
    run(&mut launch(&site, "web01", &words));
    expect_usable(&ssldir, "web01");
    let certificate = fs::read_to_string(ssldir.join("certs/web01.pem")).unwrap();
    let text = openssl(&["x509", "-noout", "-text"], &certificate);
    assert!(text.contains("1.3.6.1.4.1.34380.1.1.13: \n                ..w=b\n"), "{text}");
    // The same goes on, and others do not.
    run(&mut launch(&site, "web01", &[&words[..], &["--resume"]].concat()));
    let other = launch(&site, "web01", &["--resume"]).output().unwrap();
    assert!(says(&other).contains("revoke it (DELETE) and ask again"), "{other:?}");
    for (fact, said) in
        [("pp_role=db", "403 nothing was changed"), ("pp_auth_role=w", "is no trusted fact that a node")]
    {
        let refused = launch(&site, "web02", &["--extension", fact]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(says(&refused).contains(said), "{refused:?}");
        run(&mut client(&site, &["terminate", "web02"]));
    }
    assert_eq!(valid(&site).len(), 1);
}

#[test]
fn kept_key_is_made_by_the_client_and_never_at_the_master() {
    let site = Site::with(Plan {
        authority: "puppet-ca-api",
        ini: vec![("client cloud", "extensions = pp_role=w*, 1.3.6.1.4.1.34380.1.2.*=*")],
        ..Plan::default()
    });
    let ssldir = site.dir.join("ssl");
    let odd = "1.3.6.1.4.1.34380.1.2.7=\"\u{fc}\" \\ $x #y";
    let words = ["--ssldir", ssldir.to_str().unwrap(), "--keep-key", "--extension", "pp_role=web", "--extension", odd];
    run(&mut launch(&site, "web01", &words));
    expect_usable(&ssldir, "web01");
    let key = ssldir.join("private_keys/web01.pem");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(run(Command::new("find").arg(&ssldir).args(["-type", "f"])).lines().count(), 3);
    let found = run(Command::new("find").arg(site.dir.join("ca")).args(["-path", "*private_keys/web01.pem"]));
    assert_eq!(found, "");
    let certificate = fs::read_to_string(ssldir.join("certs/web01.pem")).unwrap();
    let text = openssl(&["x509", "-noout", "-text"], &certificate);
    assert!(text.contains("..web\n") && text.contains("\"..\" \\ $x #y\n"), "{text}");
    // The same key goes on; nothing is made anew.
    let before = fs::read(&key).unwrap();
    run(&mut launch(&site, "web01", &[&words[..], &["--resume"]].concat()));
    assert_eq!((fs::read(&key).unwrap(), valid(&site).len()), (before, 1));
    // A fact that the client may not ask for is one of the request's.
    let refused = launch(&site, "web02", &[&words[..3], &["--extension", "pp_role=db"]].concat()).output().unwrap();
    assert!(says(&refused).contains("espm-client: csr: pp_role with this value is nothing"), "{refused:?}");
}

#[test]
fn kept_key_is_refused_where_the_ca_makes_each_key() {
    let site = site();
    for words in [&["--keep-key"][..], &["--keep-key", "--ssldir", "ssl", "--user-data", "x"]] {
        let refused = launch(&site, "web01", words).output().unwrap();
        assert!(
            refused.status.code() == Some(1) && says(&refused).contains("--keep-key: want --ssldir DIR"),
            "{refused:?}"
        );
    }
    assert_eq!(site.states().len(), 0);
    let ssldir = site.dir.join("ssl");
    let refused = launch(&site, "web01", &["--keep-key", "--ssldir", ssldir.to_str().unwrap()]).output().unwrap();
    assert!(says(&refused).contains("espm-client: csr: cannot be given to this master's CA"), "{refused:?}");
    assert!(site.runs("ca").is_empty());
}
