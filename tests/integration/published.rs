//! Where there is no console: what is published is what the ledger has, all of it and no one else's.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::certificates::{serial, valid};
use crate::desk::all_is_well;
use crate::shop::{Plan, Shop};

const CATALOGUE: &str = "[classes]\nnames = apache, ntp\n[group default]\nclasses = ntp\nparameter tier = gold\n";

const WEB01: &str = "/v1/nodes/web01";

/// A shop whose check has nothing to leave out.
fn shop() -> Shop {
    let shop = Shop::without_console(&Plan::default(), CATALOGUE);
    shop.write("etc/enc.ini", &format!("[enc]\npublished = {}\n", shop.dir.join("nodes").display()));
    shop
}

fn file(shop: &Shop, name: &str) -> PathBuf {
    shop.dir.join(format!("nodes/{name}.yaml"))
}

#[test]
fn published_nodes_that_are_lost_are_published_again_and_no_node_and_no_certificate_is_lost_with_them() {
    let shop = shop();
    let names = ["web01", "web02"];
    names.iter().for_each(|name| drop(shop.add(name)));
    let made = shop.ask("POST", "/v1/nodes/web01/certificate", None, &[]);
    made.expect(201);
    let published = names.map(|name| fs::read(file(&shop, name)).unwrap());
    // As on a new machine, of which configuration, records and ledger were restored.
    let lose = || names.iter().for_each(|name| fs::remove_file(file(&shop, name)).unwrap());
    lose();
    assert!(shop.desk(&["check", "--settle"]).status.success());
    assert_eq!(names.map(|name| fs::read(file(&shop, name)).unwrap()), published);
    lose();
    shop.patch(WEB01, &json!({"classes": ["apache"]})).expect(200);
    assert!(fs::read_to_string(file(&shop, "web01")).unwrap().contains("apache"));
    assert!(shop.desk(&["check", "--settle"]).status.success());
    all_is_well(&shop);
    assert_eq!(valid(&shop), [serial(&made)].into());
    for name in names {
        shop.delete(&format!("/v1/nodes/{name}")).expect(204);
        assert!(!file(&shop, name).exists() && valid(&shop).is_empty());
    }
}
