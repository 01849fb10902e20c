//! Lists of classes and groups: what is cached, and for how long.

use std::fs;
use std::thread;

use serde_json::json;

use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Site, wait_until};

/// A site that keeps lists for an hour.
fn site() -> Site {
    Site::with(Plan { ini: vec![("console", "cache = 3600")], ..Plan::default() })
}

fn unless_known(site: &Site, path: &str, tags: &str) -> Answer {
    site.ask("GET", path, None, &[&format!("If-None-Match: {tags}")])
}

/// Rewrites the moment at which the kept list of classes was asked for.
fn date_the_kept_list(site: &Site, by_ms: i64) {
    let path = site.dir.join("state/cache/classes");
    let text = fs::read_to_string(&path).unwrap();
    let (as_of, rest) = text.split_once(' ').unwrap();
    fs::write(&path, format!("{} {rest}", as_of.parse::<i64>().unwrap() + by_ms)).unwrap();
}

#[test]
fn cached_list_is_asked_of_console_once() {
    let site = site();
    let first = site.get("/v1/groups");
    assert_eq!(
        first.expect(200).json()["groups"],
        json!(["Größe", "a,b", "databases", "default", "web servers"]),
        "in the console's order, as the console spells them"
    );
    for _ in 0..3 {
        assert_eq!(site.get("/v1/groups").body, first.body);
    }
    assert_eq!((site.count("console", "nodegroup:list"), site.runs("console").len()), (1, 1));
}

#[test]
fn no_cache_asks_console_anew_and_updates_cache() {
    let site = site();
    let first = site.get("/v1/classes");
    site.rake(&["nodeclass:add", "name=nginx"]);
    assert_eq!(site.get("/v1/classes").body, first.body);
    let fresh = site.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]);
    assert_eq!(fresh.json()["classes"], json!(["apache", "apache::mod::ssl", "mysql", "nginx", "ntp"]));
    assert_ne!(fresh.header("etag"), first.header("etag"));
    assert_eq!(site.get("/v1/classes").body, fresh.body);
    assert_eq!(site.count("console", "nodeclass:list"), 2);
}

#[test]
fn cache_of_0_seconds_asks_console_each_time() {
    let site = Site::open();
    site.configure("console", "cache = 0");
    for runs in 1..3 {
        site.get("/v1/classes").expect(200);
        assert_eq!(site.runs("console").len(), runs);
    }
}

#[test]
fn cache_of_0_seconds_shares_next_run_among_waiting() {
    let site = Site::open();
    site.configure("console", "cache = 0");
    site.fault("console", "boot_ms", "1000");
    let runs = thread::scope(|scope| {
        let first = scope.spawn(|| site.get("/v1/classes"));
        wait_until("the first run has begun", || site.runs("console").len() == 1);
        let others: Vec<_> = (0..15).map(|_| scope.spawn(|| site.get("/v1/classes"))).collect();
        for asked in others.into_iter().chain([first]) {
            asked.join().unwrap().expect(200);
        }
        site.runs("console").len()
    });
    assert!((2..16).contains(&runs), "{runs}");
}

#[test]
fn cached_list_that_is_old_future_or_damaged_is_not_used() {
    let site = site();
    site.get("/v1/classes").expect(200);
    let mut runs = 1;
    for by_seconds in [3600, -3601] {
        date_the_kept_list(&site, by_seconds * 1000);
        runs += 1;
        site.get("/v1/classes").expect(200);
        site.get("/v1/classes").expect(200);
        assert_eq!(site.runs("console").len(), runs, "{by_seconds}");
    }
    for damaged in ["", "x", "x y\n{}", "\n"] {
        fs::write(site.dir.join("state/cache/classes"), damaged).unwrap();
        runs += 1;
        assert_eq!(site.get("/v1/classes").expect(200).json()["classes"][0], "apache");
        assert_eq!(site.runs("console").len(), runs, "{damaged:?}");
    }
}

#[test]
fn simultaneous_list_requests_share_one_run() {
    let site = site();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..16).map(|_| scope.spawn(|| site.get("/v1/classes"))).collect();
        let bodies: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap().expect(200).body.clone()).collect();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    });
    assert_eq!(site.runs("console").len(), 1);
}

#[test]
fn if_none_match_of_current_list_is_304() {
    let site = site();
    let listed = site.get("/v1/classes");
    let tag = listed.header("etag").to_owned();
    assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
    assert_eq!(listed.header("cache-control"), "no-store");
    let strong = tag.trim_start_matches("W/");
    for same in [tag.as_str(), strong, "*", &format!("\"other\", {tag}"), &format!("W/\"a\",{strong} , W/\"b\"")] {
        let answer = unless_known(&site, "/v1/classes", same);
        assert_eq!((answer.expect(304).header("etag"), answer.body.as_str()), (tag.as_str(), ""), "{same}");
    }
    for other in ["\"other\"", "W/\"\"", "\"", strong.trim_matches('"')] {
        assert_eq!(unless_known(&site, "/v1/classes", other).expect(200).body, listed.body, "{other}");
    }
    assert_eq!(site.runs("console").len(), 1);

    // The tag is made of the names alone: a later list of the same names has the same tag.
    date_the_kept_list(&site, -3_601_000);
    unless_known(&site, "/v1/classes", &tag).expect(304);
    site.rake(&["nodeclass:add", "name=nginx"]);
    date_the_kept_list(&site, -3_601_000);
    unless_known(&site, "/v1/classes", &tag).expect(200);
}

#[test]
fn failing_console_is_502_and_asked_again_next_time() {
    let site = Site::open();
    site.fault("console", "abort", "once");
    let failed = site.get("/v1/classes");
    assert_eq!(failed.expect(502).problem(), "command-failed");
    assert!(!failed.body.contains("Mysql") && !failed.body.contains("INSERT"), "{failed:?}");
    let log = site.records_of(&failed).join("\n");
    assert!(log.contains("INSERT INTO"), "{log}");
    site.get("/v1/classes").expect(200);
}

#[test]
fn flood_of_names_is_502() {
    let site = Site::open();
    site.fault("console", "flood", "once");
    // Of a worker's child that fails, a list is asked of rake.
    let warm = Temperature::chosen() == Temperature::Warm;
    site.get("/v1/classes").expect(if warm { 200 } else { 502 });
    crate::harness::wait_until("the flood has ended", || site.pids("rake").is_empty());
    site.get("/v1/classes").expect(200);
}
