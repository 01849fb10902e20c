//! Requests at the same moment, for one node and for many.

use std::collections::BTreeSet;
use std::thread;

use serde_json::json;

use crate::harness::concurrency::{add, expect_busy, expect_nodes, most_at_once};
use crate::harness::{Plan, Site};

/// A site with room for two runs of rake and a short queue, its lists asked for.
fn narrow(queue: &'static str) -> Site {
    // Who waits in the queue waits for as long as any machine needs, unless a test wants less.
    let ini = vec![("console", "concurrency = 2"), ("console", "queue_timeout = 250"), ("console", queue)];
    let site = Site::with(Plan { ini, ..Plan::default() });
    site.ask_for_lists();
    site
}

#[test]
fn two_simultaneous_adds_of_one_name_make_one_node() {
    let site = Site::open();
    for round in 0..5 {
        let name = format!("web{round}");
        let answers = thread::scope(|scope| {
            let asked = ["web", "db"].map(|role| {
                let body = json!({"name": name, "parameters": {"role": role}});
                let site = &site;
                scope.spawn(move || (role, site.post("/v1/nodes", &body)))
            });
            asked.map(|asked| asked.join().unwrap())
        });
        let made: Vec<_> = answers.iter().filter(|(_, answer)| answer.status == 201).collect();
        assert_eq!(made.len(), 1, "{answers:?}");
        for (_, answer) in answers.iter().filter(|(_, answer)| answer.status != 201) {
            assert!(matches!(answer.problem().as_str(), "name-taken" | "busy"), "{answer:?}");
        }
        assert_eq!(site.node_in_console(&name)["parameters"], json!([["role", made[0].0]]));
    }
    assert!(site.unfinished().is_empty());
}

#[test]
fn thirty_adds_at_once_stay_within_concurrency_and_none_is_lost() {
    let site = narrow("queue = 5");
    let answers: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = (0..30)
            .map(|number| {
                let site = &site;
                scope.spawn(move || (format!("web{number}"), add(site, &format!("web{number}"))))
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let mut made = BTreeSet::new();
    for (name, answer) in answers {
        if answer.status == 201 {
            made.insert(name);
        } else {
            expect_busy(&answer);
        }
    }
    assert!(made.len() >= 2, "{made:?}");
    assert!(most_at_once(&site) <= 2);
    expect_nodes(&site, &made);
}

#[test]
fn twenty_adds_at_once_of_client_that_may_have_three_make_three() {
    let site = Site::open();
    site.configure("client cloud", "most = 3");
    let answers: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = (0..20)
            .map(|number| {
                let site = &site;
                scope.spawn(move || (format!("web{number}"), add(site, &format!("web{number}"))))
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, answer)| answer.status == 201);
    assert!(refused.iter().all(|(_, answer)| answer.expect(403).problem() == "quota"), "{refused:?}");
    assert_eq!(made.len(), 3, "{made:?}");
    expect_nodes(&site, &made.into_iter().map(|(name, _)| name).collect());
}

/// Fills both slots with adds whose rake stops, does something, and lets them go on.
fn with_all_slots_held(site: &Site, meanwhile: impl FnOnce()) {
    thread::scope(|scope| {
        let held = ["held0", "held1"].map(|name| {
            site.pause_at("before_node_add");
            let asked = scope.spawn(move || add(site, name));
            site.wait_for_pause();
            asked
        });
        let meanwhile = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        site.go_on();
        for asked in held {
            asked.join().unwrap().expect(201);
        }
        meanwhile.unwrap();
    });
}

#[test]
fn full_queue_is_503_at_once_and_reads_are_answered() {
    // Of which one client has half.
    let site = narrow("queue = 10");
    add(&site, "web").expect(201);
    let mut names: BTreeSet<_> = ["web", "held0", "held1"].map(str::to_owned).into();
    thread::scope(|scope| {
        let (sender, answers) = std::sync::mpsc::channel();
        with_all_slots_held(&site, || {
            for number in 0..30 {
                let (site, sender) = (&site, sender.clone());
                scope.spawn(move || {
                    let name = format!("web{number}");
                    let answer = add(site, &name);
                    sender.send((name, answer)).unwrap();
                });
            }
            // 5 wait for as long as the slots are held.
            for _ in 0..25 {
                expect_busy(&answers.recv().unwrap().1);
            }
            site.get("/v1/health").expect(200);
            site.get("/v1/classes").expect(200);
            site.get("/v1/nodes/web").expect(200);
            site.get("/v1/nodes/foreign.example.com").expect(404);
            site.delete("/v1/nodes/foreign.example.com").expect(404);
            site.post("/v1/nodes", &json!({"name": "WEB"})).expect(422);
            site.post("/v1/nodes", &json!({"name": "web"})).expect(409);
            site.ask("GET", "/v1/classes", None, &["X-ESPM-PSK: wrong"]).expect(401);
            expect_busy(&site.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]));
            expect_busy(&site.delete("/v1/nodes/web"));
            expect_busy(&site.patch("/v1/nodes/web", &json!({"groups": []})));
            assert!(answers.try_recv().is_err(), "5 requests wait");
        });
        drop(sender);
        for (name, answer) in answers {
            answer.expect(201);
            names.insert(name);
        }
    });
    assert_eq!(names.len(), 3 + 5);
    assert_eq!(most_at_once(&site), 2);
    expect_nodes(&site, &names);
}

#[test]
fn wait_beyond_queue_timeout_is_503_and_leaves_nothing() {
    let site = narrow("queue_timeout = 1");
    add(&site, "web").expect(201);
    with_all_slots_held(&site, || {
        expect_busy(&add(&site, "late"));
        expect_busy(&site.patch("/v1/nodes/web", &json!({"groups": []})));
        expect_busy(&site.delete("/v1/nodes/web"));
        site.get("/v1/nodes/late").expect(404);
        assert_eq!(site.unfinished().into_keys().collect::<Vec<_>>(), ["held0", "held1"]);
    });
    expect_nodes(&site, &["web", "held0", "held1"].map(str::to_owned).into());
    assert_eq!(site.node_in_console("web")["groups"], json!(["default"]));
    add(&site, "late").expect(201);
}

#[test]
fn simultaneous_changes_of_one_node_are_serialized() {
    for release in ["1.2.8", "1.2.23"] {
        let site = Site::with(Plan { release, ..Plan::default() });
        add(&site, "web").expect(201);
        let made: Vec<_> = thread::scope(|scope| {
            let asked: Vec<_> = (0..6)
                .map(|number| {
                    let site = &site;
                    let change = json!({"parameters": {format!("p{number}"): "1", "last": number.to_string()}});
                    scope.spawn(move || (number, site.patch("/v1/nodes/web", &change)))
                })
                .collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).filter(|(_, answer)| answer.status != 503).collect()
        });
        assert!(!made.is_empty());
        let node = site.get("/v1/nodes/web").expect(200).json();
        for (number, answer) in &made {
            answer.expect(200);
            assert_eq!(node["parameters"][format!("p{number}")], "1", "{release}: a change that was answered is lost");
        }
        assert_eq!(node["parameters"].as_object().unwrap().len(), made.len() + 1);
        site.expect_in_console(&node);
    }
}

#[test]
fn change_is_503_while_another_of_same_node_runs() {
    let site = narrow("queue = 5");
    add(&site, "web").expect(201);
    let runs = site.changing_runs();
    let change = |role: &str| site.patch("/v1/nodes/web", &json!({"parameters": {"role": role}}));
    // In its look at the console's nodes, before its intent.
    let first = site.paused(
        "boot",
        || change("first"),
        || {
            expect_busy(&change("second"));
            assert!(site.unfinished().is_empty());
            assert_eq!(site.changing_runs(), runs);
        },
    );
    assert_eq!(first.expect(200).json()["parameters"]["role"], "first");
    assert_eq!(site.node_in_console("web")["parameters"], json!([["role", "first"]]));
    // Who only looks at the node waits for nothing: it is still what it was.
    let look = || assert_eq!(site.get("/v1/nodes/web").expect(200).json()["parameters"]["role"], "first");
    site.paused("before_node_del", || change("third"), look).expect(200);
}

#[test]
fn simultaneous_adds_and_deletions_leave_ledger_and_console_equal() {
    let site = Site::open();
    thread::scope(|scope| {
        for number in 0..8 {
            let site = &site;
            scope.spawn(move || {
                let answer = if number % 2 == 0 { add(site, "web") } else { site.delete("/v1/nodes/web") };
                assert!(matches!(answer.status, 201 | 204 | 404 | 409 | 503), "{answer:?}");
            });
        }
    });
    let there = site.get("/v1/nodes/web").status == 200;
    expect_nodes(&site, &there.then(|| "web".to_owned()).into_iter().collect());
}
