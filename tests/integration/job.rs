//! The whole job, through the web server and TLS.
use serde_json::json;

use crate::shop::Shop;

#[test]
fn a_node_goes_in_and_out() {
    let shop = Shop::open();
    let classes = shop.get("/v1/classes");
    classes.expect(200);
    assert_eq!(classes.json()["classes"], json!(["apache", "apache::mod::ssl", "mysql", "ntp"]));
    let body = json!({"name": "web01.example.com", "groups": ["web servers"], "classes": ["apache"], "parameters": {"role": "web"}});
    let added = shop.post("/v1/nodes", &body);
    added.expect(201);
    assert_eq!(added.json(), body);
    assert_eq!(added.header("location"), "/v1/nodes/web01.example.com");
    assert_eq!(
        shop.node_in_console("web01.example.com"),
        json!({"groups": ["web servers"], "classes": ["apache"], "parameters": [["role", "web"]]})
    );
    assert_eq!(shop.get("/v1/nodes/web01.example.com").expect(200).json(), body);
    shop.delete("/v1/nodes/web01.example.com").expect(204);
    assert!(shop.node_in_console("web01.example.com").is_null());
    shop.delete("/v1/nodes/web01.example.com").expect(404);
}
