//! The warm console in front of a real ActiveRecord and a real MariaDB: what it loads, forks and connects.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use espm::model::fold::Folding;
use serde_json::json;

use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Site, as_user, run, template, wait_until};

/// A MariaDB of the site's own.
struct Database<'a> {
    site: &'a Site,
    server: Mutex<Option<Child>>,
}

impl<'a> Database<'a> {
    fn make(site: &'a Site) -> Self {
        let data = site.dir.join("console/data");
        run(as_user("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", data.display())));
        let database = Self { site, server: Mutex::new(None) };
        database.start();
        database.sql("CREATE DATABASE console CHARACTER SET utf8");
        let socket = database.socket();
        site.write(
            "console/rails",
            &format!(
                "production:\n  adapter: mysql2\n  encoding: utf8\n  username: root\n  database: console\n  socket: {socket}\n"
            ),
        );
        run(as_user(template().join("console/seed")).arg(site.dir.join("console")));
        database
    }

    fn socket(&self) -> String {
        self.site.dir.join("console/mysql.sock").display().to_string()
    }

    fn start(&self) {
        let data = self.site.dir.join("console/data");
        let mut server = as_user("mariadbd");
        server.args(["--no-defaults", "--skip-networking", "--innodb-buffer-pool-size=16M"]);
        server.arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", self.socket()));
        let server = server.stdin(Stdio::null()).stderr(self.site.append("mariadb.err")).spawn().unwrap();
        *self.server.lock().unwrap() = Some(server);
        let ping = || self.client("SELECT 1").output().unwrap().status.success();
        wait_until("the database answers", ping);
    }

    fn stop(&self) {
        if let Some(mut server) = self.server.lock().unwrap().take() {
            run(Command::new("kill").arg(server.id().to_string()));
            server.wait().unwrap();
        }
    }

    fn client(&self, sql: &str) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-N", "-u", "root", "-S", &self.socket(), "-e", sql]);
        client
    }

    fn sql(&self, sql: &str) -> String {
        run(&mut self.client(sql)).trim().to_owned()
    }

    /// Connections but the one that asks.
    fn connections(&self) -> usize {
        let count = "SELECT count(*) - 1 FROM information_schema.processlist WHERE user = 'root'";
        self.sql(count).parse().unwrap()
    }
}

/// A connection of somebody else's, such as the import of a report.
struct Session {
    client: Child,
    answers: BufReader<ChildStdout>,
}

impl Session {
    fn open(database: &Database) -> Self {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-N", "-n", "-u", "root", "-S", &database.socket(), "console"]);
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(client.stdout.take().unwrap());
        Self { client, answers }
    }

    /// Has it say something, and waits until that is done.
    fn say(&mut self, sql: &str) {
        writeln!(self.client.stdin.as_mut().unwrap(), "{sql}; SELECT 'done';").unwrap();
        let done = (&mut self.answers).lines().any(|line| line.unwrap() == "done");
        assert!(done, "{sql}");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        self.site.end_worker();
        if let Some(mut server) = self.server.lock().unwrap().take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// A site whose console is not there yet.
fn site() -> Site {
    let site = Site::with(Plan { console: Temperature::Cold, ..Plan::default() });
    site.configure("console", &format!("worker = {}", site.worker_socket().display()));
    site
}

fn add(site: &Site, name: &str) -> Answer {
    site.post(
        "/v1/nodes",
        &json!({"name": name, "groups": ["Größe"], "classes": ["ntp"], "parameters": {"role": "web"}}),
    )
}

#[track_caller]
fn expect_warm(site: &Site, answer: &Answer) {
    assert!(site.records_of(answer).iter().all(|record| !record.contains("console=cold")));
}

#[test]
fn restarted_database_needs_no_new_worker() {
    let site = site();
    let database = Database::make(&site);
    site.start_worker();
    // The server forgets those who have left a moment later.
    wait_until("the worker has no connection, nor has anybody", || database.connections() == 0);
    let added = add(&site, "web01");
    expect_warm(&site, added.expect(201));
    site.expect_in_console(&added.json());
    let look = || wait_until("there is the child's connection alone", || database.connections() == 1);
    site.paused("after_commit_node_add", || add(&site, "web02"), look).expect(201);
    wait_until("the child's connection is closed", || database.connections() == 0);

    database.stop();
    assert_eq!(add(&site, "web03").expect(502).problem(), "command-failed");
    site.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]).expect(502);
    site.patch("/v1/nodes/web01", &json!({"groups": []})).expect(502);
    site.get("/v1/nodes/web01").expect(200);
    database.start();

    let again = add(&site, "web03");
    expect_warm(&site, again.expect(201));
    site.expect_in_console(&again.json());
    // And away under the hands of a run.
    let point = "before_node_parameters";
    site.paused(point, || add(&site, "web04"), || database.stop()).expect(502);
    database.start();
    expect_warm(&site, add(&site, "web04").expect(201));
    site.delete("/v1/nodes/web04").expect(204);
    assert!(site.unfinished().is_empty() && site.proofs() == 0);
    site.expect_worker_alive();
    site.expect_foreign_untouched();
    wait_until("no connection is left", || database.connections() == 0);
    database.stop();
}

#[test]
fn worker_starts_without_database() {
    let site = site();
    let database = Database::make(&site);
    database.stop();
    site.start_worker();
    database.start();
    expect_warm(&site, add(&site, "web01").expect(201));
    site.restart_worker();
    // What a child loads beyond its parent is not there when the model's file is gone: the table's are read before.
    let maps = fs::read_to_string(format!("/proc/{}/maps", site.worker_pid().unwrap())).unwrap();
    assert!(maps.contains("mysql2.so"), "the adapter is loaded once");
    expect_warm(&site, site.delete("/v1/nodes/web01").expect(204));
    database.stop();
}

/// The collations that MySQL and MariaDB give a database that names none, and Unicode's of that MariaDB.
const COLLATIONS: [&str; 4] =
    ["utf8mb3_general_ci", "utf8mb4_general_ci", "utf8mb4_unicode_520_ci", "utf8mb4_uca1400_ai_ci"];

#[test]
fn two_letters_of_one_weight_in_mariadb_are_one_name() {
    let site = site();
    let database = Database::make(&site);
    let letters: Vec<char> = (0x21..=0xFFFF).filter_map(char::from_u32).filter(|c| c.is_alphanumeric()).collect();
    let rows: Vec<_> = letters.iter().map(|c| format!("({},'{c}')", u32::from(*c))).collect();
    let script = site.write(
        "letters.sql",
        &format!(
            "SET NAMES utf8mb4; USE console; CREATE TABLE letters (n INTEGER, c VARCHAR(4) CHARACTER SET utf8mb4);
             INSERT INTO letters VALUES {};",
            rows.join(",")
        ),
    );
    database.sql(&format!("source {script}"));
    let folding = Folding::default();
    for collation in COLLATIONS {
        let charset = collation.split('_').next().unwrap();
        let weights = database.sql(&format!(
            "SELECT n, hex(weight_string(CONVERT(c USING {charset}) COLLATE {collation})) FROM console.letters"
        ));
        let mut by_weight: BTreeMap<&str, Vec<char>> = BTreeMap::new();
        for line in weights.lines() {
            let (number, weight) = line.split_once('\t').unwrap();
            by_weight.entry(weight).or_default().push(char::from_u32(number.parse().unwrap()).unwrap());
        }
        assert!(by_weight.len() > 40_000 && by_weight.len() < letters.len() - 500, "{collation} {}", by_weight.len());
        // Signs without a weight are ignored, as accents are.
        by_weight.remove("");
        for same in by_weight.values() {
            let first = folding.keys(&same[0].to_string());
            for other in same {
                let keys = folding.keys(&other.to_string());
                assert!(first.iter().any(|key| keys.contains(key)), "{collation}: {} and {other}", same[0]);
            }
        }
    }
    database.stop();
}

#[test]
fn names_that_mariadb_folds_are_422() {
    let site = site();
    site.write("console/release", "1.2.23");
    site.configure("console", "release = 1.2.23");
    let database = Database::make(&site);
    database.sql("INSERT INTO console.node_classes (name) VALUES ('nTp')");
    database.sql("SET NAMES utf8; INSERT INTO console.node_groups (name) VALUES ('Web Sérvers')");
    site.start_worker();
    site.post("/v1/nodes", &json!({"name": "web01", "parameters": {"Role": "1"}})).expect(422);
    let body = json!({
        "name": "web01", "groups": ["default", "web servers"], "classes": ["ntp"],
        "parameters": {"fooBar": "1", "foobar": "2"}
    });
    let refused = site.post("/v1/nodes", &body);
    let fields = ["groups[1]", "classes[0]", "parameters.fooBar", "parameters.foobar"];
    assert_eq!(refused.expect(422).fields(), fields);
    for names in ["\\\"web servers\\\" and \\\"Web Sérvers\\\"", "\\\"ntp\\\" and \\\"nTp\\\"", "fooBar and foobar"] {
        assert!(refused.body.contains(names), "{names}: {refused:?}");
    }
    assert_eq!(site.changing_runs(), 0);
    let node = json!({"name": "web01", "groups": ["default"], "classes": ["apache"], "parameters": {"fooBar": "1"}});
    site.post("/v1/nodes", &node).expect(201);
    // What the node has already is in the way, too.
    let patch = |body| site.patch("/v1/nodes/web01", &body);
    assert_eq!(patch(json!({"parameters": {"foobar": "2"}})).expect(422).fields(), ["parameters.foobar"]);
    site.expect_in_console(&node);
    site.ask_for_lists();
    // A twin that is newer than the list is seen by the run itself.
    database.sql("INSERT INTO console.node_groups (name) VALUES ('Databases')");
    assert_eq!(patch(json!({"groups": ["databases"]})).expect(422).fields(), ["groups[0]"]);
    site.expect_in_console(&node);
    database.sql("INSERT INTO console.node_groups (name) VALUES ('DEFAULT')");
    site.ask("GET", "/v1/groups", None, &["Cache-Control: no-cache"]).expect(200);
    // Not sent, and yet a change would assign the wrong one.
    let refused = patch(json!({"parameters": {"tier": "1"}}));
    assert_eq!(refused.expect(422).fields(), ["groups"]);
    patch(json!({"parameters": {"tier": "1"}, "groups": []})).expect(200);
    database.stop();
}

#[test]
fn lock_wait_and_deadlock_of_real_database_leave_node_active() {
    let site = site();
    let database = Database::make(&site);
    site.start_worker();
    for (name, words) in [("web01", "Lock wait timeout exceeded"), ("web02", "Deadlock found")] {
        add(&site, name).expect(201);
        let mut other = Session::open(&database);
        other.say("CREATE TABLE IF NOT EXISTS weight (number INT) ENGINE=InnoDB");
        // The database ends the transaction that has changed less.
        other.say(&format!("BEGIN; INSERT INTO weight VALUES {}(0)", "(1),".repeat(500)));
        other.say(&format!("SELECT id FROM nodes WHERE name = '{name}' FOR UPDATE"));
        let path = format!("/v1/nodes/{name}");
        let deadlocks = words.starts_with("Deadlock");
        database.sql(&format!("SET GLOBAL innodb_lock_wait_timeout = {}", if deadlocks { 50 } else { 1 }));
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| site.delete(&path));
            if deadlocks {
                // The table is read anew only where nobody has read it for 0.1 s.
                let waits =
                    "DO sleep(0.2); SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
                wait_until("rake waits for the lock", || database.sql(waits) == "1");
                other.say("SELECT count(*) FROM console.parameters FOR UPDATE");
            }
            asked.join().unwrap()
        });
        answer.expect(502);
        let log = site.records_of(&answer).join("\n");
        assert!(log.contains(words), "{log}");
        other.say("ROLLBACK");
        assert_eq!(site.states()[name], "active", "{words}");
        site.delete(&path).expect(204);
        assert!(site.node_in_console(name).is_null());
    }
}
