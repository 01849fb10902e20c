//! Apache with ModSecurity, as Debian recommends to begin with it: refused requests go into its log with all headers.

use std::fs;
use std::process::Command;

use crate::harness::{Plan, Server, Site, node, run, wait_until};

const NAME: &str = "web01.example.com";

/// Puts ModSecurity before a site's Apache.
fn protect(site: &Site) {
    let at = |name: &str| site.dir.join(name).display().to_string();
    let recommended = fs::read_to_string("/etc/modsecurity/modsecurity.conf-recommended").unwrap();
    let rules = recommended
        .replace("/var/log/apache2", &site.dir.display().to_string())
        .replace("unicode.mapping", "/etc/modsecurity/unicode.mapping");
    site.write("rules.conf", &format!("SecDataDir {}\n{rules}", at("")));
    let modules = "/usr/lib/apache2/modules/mod";
    let main = fs::read_to_string(site.dir.join("apache.conf")).unwrap();
    let load = format!(
        "LoadModule unique_id_module {modules}_unique_id.so\nLoadModule security2_module {modules}_security2.so\n\
         Include {}\nInclude",
        at("rules.conf")
    );
    site.write("apache.conf", &main.replace("Include", &load));
    // Its first reading of a configuration does nothing: Apache reads it twice when it starts.
    reload(site);
}

/// Has the site's Apache read its configuration again.
fn reload(site: &Site) {
    let resumed = || site.file("apache.err").matches("resuming normal operations").count();
    let before = resumed();
    run(Command::new("kill").args(["-USR1", site.file("apache.pid").trim()]));
    wait_until("Apache has read its configuration", || resumed() > before);
}

#[test]
fn modsecurity_logs_no_key() {
    for server in [Server::Apache, Server::ApacheCgi] {
        let site = Site::with(Plan { server, ..Default::default() });
        let vhost = site.file("vhost.conf");
        let ask = || {
            site.post("/v1/nodes", &node(NAME)).expect(409);
            site.ask("GET", "/v1/classes", None, &["X-ESPM-PSK: not-the-key-of-anybody"]).expect(401);
        };
        site.post("/v1/nodes", &node(NAME)).expect(201);
        protect(&site);
        // A vhost without the lines: so this is a log that would have the key.
        let bare: String = vhost.lines().filter(|line| !line.contains("Sec")).map(|line| format!("{line}\n")).collect();
        site.write("vhost.conf", &bare);
        reload(&site);
        ask();
        let logged = || site.file("modsec_audit.log");
        // It logs a request after its answer.
        for key in [&site.psk, "not-the-key-of-anybody"] {
            wait_until("ModSecurity has logged the key", || logged().contains(key));
        }
        site.write("vhost.conf", &vhost);
        reload(&site);
        site.write("modsec_audit.log", "");
        ask();
        assert_eq!(logged(), "", "{server:?}");
    }
}
