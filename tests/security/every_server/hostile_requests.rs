//! Requests that try to do harm or to learn of foreign nodes. None of them runs anything.
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::raw_http::{Traces, by, judge, parsed, primed, verdict, wire};
use crate::harness::{Server, Site};

/// Fields of a JSON body with this many bytes.
fn json_fields(length: &str) -> [Vec<u8>; 2] {
    [b"Content-Type: application/json".to_vec(), format!("Content-Length: {length}").into_bytes()]
}

fn post(site: &Site, length: &str, body: &[u8], more: &[&[u8]]) -> Vec<u8> {
    let fields = json_fields(length);
    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).chain(more.iter().copied()).collect();
    wire(site, "POST /v1/nodes", &fields, body)
}

fn post_whole(site: &Site, body: &[u8], more: &[&[u8]]) -> Vec<u8> {
    post(site, &body.len().to_string(), body, more)
}

/// A chunked POST (RFC 9112, section 7.1) in pieces of 4 KiB.
fn post_chunked(site: &Site, body: &[u8], more: &[&[u8]]) -> Vec<u8> {
    let mut chunked = Vec::new();
    for chunk in body.chunks(4096) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let mut fields: Vec<&[u8]> = vec![b"Content-Type: application/json", b"Transfer-Encoding: chunked"];
    fields.extend_from_slice(more);
    wire(site, "POST /v1/nodes", &fields, &chunked)
}

/// A body for a name that is refused, of exactly so many bytes.
fn padded(length: usize) -> Vec<u8> {
    let mut body = br#"{"name":"Not A Name"}"#.to_vec();
    body.resize(length, b' ');
    body
}

const GOOD: &[u8] = br#"{"name":"web01.example.com"}"#;

#[test]
fn header_that_is_not_utf_8_changes_nothing() {
    let site = primed();
    let psk = format!("X-ESPM-PSK: {}", site.psk);
    let (psk, junk) = (psk.as_bytes(), &b"X-Junk: \xff\xfe\xc3"[..]);
    let get = "GET /v1/groups";
    // FastCGI hides what comes after it, the method too; nginx passes none but known headers.
    let (other, known) = (
        by(&site, "200 espm", "400 bad-request", "200 espm"),
        by(&site, "400 bad-request", "400 bad-request", "200 espm"),
    );
    let key = b"Idempotency-Key: \xff\xfe";
    let mut target = wire(&site, "GET /v1/groupsX", &[], b"");
    let at = target.iter().position(|b| *b == b'X').unwrap();
    target[at] = 0xff;
    judge(
        &site,
        &[
            ("before the others", wire(&site, get, &[junk, psk], b""), other),
            ("after the others", wire(&site, get, &[psk, junk], b""), other),
            ("both", wire(&site, get, &[junk, psk, junk], b""), other),
            (
                "the key",
                wire(&site, get, &[b"X-ESPM-PSK: \xff"], b""),
                by(&site, "401 unauthorized", "400 bad-request", "401 unauthorized"),
            ),
            ("the target", target, "400 bad-request"),
            ("a target in UTF-8", wire(&site, "GET /v1/groups\u{e9}", &[], b""), "404 not-found"),
            ("an Idempotency-Key", post_whole(&site, GOOD, &[key]), "400 bad-request"),
            ("a tag", wire(&site, get, &[b"If-None-Match: \xff"], b""), known),
            ("a directive", wire(&site, get, &[b"Cache-Control: \xff"], b""), known),
            (
                "a media type",
                wire(&site, "POST /v1/nodes", &[b"Content-Type: application/json;\xff", b"Content-Length: 2"], b"{}"),
                by(&site, "400 bad-request", "400 bad-request", "415 unsupported-media-type"),
            ),
        ],
    );
}

#[test]
fn ten_thousand_headers_are_400() {
    let site = primed();
    let many: Vec<Vec<u8>> = (0..10_000).map(|i| format!("X-H{i}: {i}").into_bytes()).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let long = [b"X-Long: ".to_vec(), vec![b'x'; 100_000]].concat();
    judge(
        &site,
        &[
            ("many", post_whole(&site, GOOD, &many), "400 server"),
            ("long", post_whole(&site, GOOD, &[&long]), "400 server"),
        ],
    );
}

#[test]
fn client_header_is_in_no_environment() {
    let site = Site::open();
    let body = json!({"name": "web01.example.com", "groups": ["default"]}).to_string();
    let headers = ["Proxy: http://evil.example.com", "X-Evil: 1", "BASH_ENV: /etc/passwd", "Rubyopt: -rsocket"];
    site.ask("POST", "/v1/nodes", Some(&body), &headers).expect(201);
    site.ask("POST", "/v1/nodes/web01.example.com/certificate", None, &headers).expect(201);
    for double in ["console", "ca"] {
        let runs = site.runs(double);
        assert!(!runs.is_empty());
        for run in runs {
            let names: Vec<_> = run["exec_env"].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["HOME", "LANG", "PATH"], "{run}");
        }
    }
}

#[test]
fn query_string_is_never_an_option() {
    let site = primed();
    let before = Traces::of(&site);
    for path in ["/v1/groups", "/v1/health", "/v1/nodes/foreign.example.com"] {
        let plain = site.get(path);
        for query in ["?-c/etc/passwd", "?--help", "?-s", "?check", "?-c+/etc/passwd+nodes", "?", "?a=b&c=%00"] {
            let asked = site.get(&format!("{path}{query}"));
            assert_eq!((asked.status, &asked.body), (plain.status, &plain.body), "{path}{query}");
        }
    }
    assert_eq!(Traces::of(&site), before);
}

#[test]
fn body_beyond_limit_is_413() {
    let site = primed();
    let limit = 64 * 1024;
    judge(
        &site,
        &[
            ("at the limit", post_whole(&site, &padded(limit), &[]), "422 invalid"),
            ("no JSON at the limit", post_whole(&site, &vec![b'['; limit], &[]), "400 bad-json"),
            ("beyond the limit", post_whole(&site, &padded(limit + 1), &[]), "413 too-large"),
            ("chunked at the limit", post_chunked(&site, &padded(limit), &[]), "422 invalid"),
            ("chunked beyond the limit", post_chunked(&site, &padded(limit + 1), &[]), "413 too-large"),
            ("none", wire(&site, "POST /v1/nodes", &[b"Content-Type: application/json"], b""), "400 bad-json"),
        ],
    );
    let before = Traces::of(&site);
    let huge = padded(2 << 20);
    for (how, bytes) in [("whole", post_whole(&site, &huge, &[])), ("chunked", post_chunked(&site, &huge, &[]))] {
        let answer = parsed(&site.raw(&bytes)).unwrap();
        assert!(verdict(Some(&answer)).starts_with("413 "), "{answer:?}");
        let id = answer.header("x-request-id");
        let asked = !id.is_empty() && site.audit().iter().any(|record| record.contains(id));
        // Apache limits no chunked body that it passes on by FastCGI; espm stops reading at its own limit.
        assert_eq!(asked, how == "chunked" && site.server == Server::Apache, "{how}: {answer:?}");
    }
    assert_eq!(Traces::of(&site), before);
    let added = site.raw(&post_chunked(&site, GOOD, &[]));
    assert_eq!(verdict(parsed(&added).as_ref()), "201 espm");
    assert!(!site.node_in_console("web01.example.com").is_null());
}

#[test]
fn body_with_false_length_changes_nothing() {
    let site = primed();
    let chunked: &[u8] = b"Transfer-Encoding: chunked";
    let length = GOOD.len();
    let unknown = [&b"Content-Type: application/json"[..], b"Transfer-Encoding: espm"];
    judge(
        &site,
        &[
            ("a word", post(&site, "abc", GOOD, &[]), "400 server"),
            ("negative", post(&site, "-1", GOOD, &[]), "400 server"),
            ("a sign", post(&site, &format!("+{length}"), GOOD, &[]), "400 server"),
            ("two numbers", post(&site, &format!("{length} {length}"), GOOD, &[]), "400 server"),
            ("hexadecimal", post(&site, "0x1c", GOOD, &[]), "400 server"),
            ("beyond 64 bits", post(&site, "99999999999999999999999", GOOD, &[]), "400 server"),
            ("two lengths", post(&site, "5", GOOD, &[format!("Content-Length: {length}").as_bytes()]), "400 server"),
            // Apache goes by the chunks alone (RFC 9112, section 6.3) and closes the connection.
            (
                "length and chunks",
                post_chunked(&site, &padded(30), &[b"Content-Length: 5"]),
                by(&site, "400 server", "422 invalid", "422 invalid"),
            ),
            (
                "chunks and length",
                post(&site, "5", b"0\r\n\r\n", &[chunked]),
                by(&site, "400 server", "400 bad-json", "400 bad-json"),
            ),
            (
                "an unknown coding",
                wire(&site, "POST /v1/nodes", &unknown, GOOD),
                by(&site, "501 server", "400 server", "400 server"),
            ),
            ("a chunk that is none", wire(&site, "POST /v1/nodes", &[chunked], b"zz\r\n{}\r\n0\r\n\r\n"), "400 server"),
        ],
    );
}

#[test]
fn client_leaving_before_end_of_body_changes_nothing() {
    let site = primed();
    let before = Traces::of(&site);
    let json: &[u8] = b"Content-Type: application/json";
    let chunked = |body: &str| wire(&site, "POST /v1/nodes", &[json, b"Transfer-Encoding: chunked"], body.as_bytes());
    let good = String::from_utf8(GOOD.to_vec()).unwrap();
    for bytes in [
        post(&site, "100", GOOD, &[]),
        chunked("1c\r\n{"),
        chunked(&format!("{:x}\r\n{good}", good.len())),
        chunked(&format!("{:x}\r\n{good}\r\n", good.len())),
        chunked(&format!("ff\r\n{good}")),
    ] {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", "-no_ign_eof", "-connect", &format!("127.0.0.1:{}", site.port)]);
        let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        let got = verdict(parsed(&output.stdout).as_ref());
        assert!(["no answer", "400 server", "400 bad-request"].contains(&got.as_str()), "{got}");
    }
    // A whole request that comes later is answered later.
    site.add("web02.example.com");
    assert!(site.node_in_console("web01.example.com").is_null());
    site.delete("/v1/nodes/web02.example.com").expect(204);
    assert_eq!(Traces::of(&site).lasting(), before.lasting());
}

#[test]
fn path_is_never_decoded() {
    let site = primed();
    let get = |path: &str| wire(&site, &format!("GET {path}"), &[], b"");
    let delete = |path: &str| wire(&site, &format!("DELETE {path}"), &[], b"");
    let ours = "404 not-found";
    judge(
        &site,
        &[
            ("encoded dots", get("/v1/nodes/%2e%2e%2fca"), ours),
            ("dots", get("/v1/nodes/../groups"), ours),
            ("encoded parent", get("/v1/nodes/%2e%2e/groups"), ours),
            ("above the root", get("/../../etc/passwd"), by(&site, "400 server", "400 server", "400 server")),
            ("a dot", get("/v1/./groups"), ours),
            ("two slashes", get("/v1//groups"), ours),
            ("an encoded slash", delete("/v1/nodes/foreign.example.com%2fcertificate"), ours),
            ("an encoded letter", delete("/v1/nodes/%66oreign.example.com"), ours),
            ("a backslash", get("/v1/nodes/..\\groups"), ours),
            (
                "an encoded NUL",
                delete("/v1/nodes/foreign.example.com%00"),
                by(&site, "400 server", "404 server", "404 server"),
            ),
            ("an encoded line", delete("/v1/nodes/foreign.example.com%0d%0aX-Injected:%201"), ours),
            ("an encoded answer", get("/v1/nodes/%0d%0a%0d%0aX-Injected:%201"), ours),
            ("half an escape", get("/v1/nodes/%"), "400 server"),
            ("a fragment", get("/v1/nodes/foreign.example.com#x"), by(&site, ours, "400 server", "400 server")),
            ("our own absolute form", get("http://localhost/v1/groups?x"), "200 espm"),
            ("absolute form", get("http://localhost/v1/nodes/foreign.example.com"), ours),
            ("another's absolute form", get("http://evil.example.com/v1/nodes/foreign.example.com"), ours),
            ("an asterisk", wire(&site, "OPTIONS *", &[], b""), by(&site, "400 server", "200 server", "200 server")),
            ("three KiB", delete(&format!("/v1/nodes/{}", "a".repeat(3 * 1024))), ours),
            ("eight KiB", delete(&format!("/v1/nodes/{}", "a".repeat(8 * 1024))), "414 server"),
            ("a raw NUL", delete("/v1/nodes/foreign.example.com\0"), "400 server"),
            ("a raw tab", delete("/v1/nodes/foreign.example.com\t"), "400 server"),
        ],
    );
}

#[test]
fn unknown_method_or_version_runs_nothing() {
    let site = primed();
    let ask = |method: &str| wire(&site, &format!("{method} /v1/nodes/foreign.example.com"), &[], b"");
    let old = |line: &str| format!("{line} HTTP/1.0\r\nX-ESPM-PSK: {}\r\n\r\n", site.psk).into_bytes();
    let none = "405 method-not-allowed";
    judge(
        &site,
        &[
            ("TRACE", ask("TRACE"), "405 server"),
            (
                "CONNECT",
                wire(&site, "CONNECT foreign.example.com:443", &[], b""),
                by(&site, "400 server", "404 not-found", "404 not-found"),
            ),
            ("PUT", ask("PUT"), none),
            ("OPTIONS", ask("OPTIONS"), none),
            ("PROPFIND", ask("PROPFIND"), none),
            ("one nobody knows", ask("BREW"), none),
            ("lower case", ask("delete"), by(&site, "400 server", none, none)),
            ("not a word", ask("DEL<ETE"), "400 server"),
            ("HTTP/1.0", old("GET /v1/groups"), "200 espm"),
            ("HTTP/1.0, foreign", old("DELETE /v1/nodes/foreign.example.com"), "404 not-found"),
            ("HTTP/0.9", b"GET /v1/groups\r\n".to_vec(), "no answer"),
            ("HTTP/9.9", [old("GET /v1/groups")[..22].to_vec(), b"9\r\n\r\n".to_vec()].concat(), "400 server"),
            ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n".to_vec(), "400 server"),
        ],
    );
}

#[test]
fn control_character_in_any_field_is_422() {
    let site = primed();
    site.add("web01.example.com");
    let before = Traces::of(&site);
    for bad in ["\0", "\r", "\n", "\r\n", "\u{1b}", "\u{85}", "\u{7f}"] {
        for text in [format!("a{bad}b"), format!("{bad}a"), format!("a{bad}")] {
            for (field, body) in [
                ("name".to_owned(), json!({"name": text})),
                ("groups[0]".to_owned(), json!({"name": "web02", "groups": [text]})),
                ("classes[0]".to_owned(), json!({"name": "web02", "classes": [text]})),
                (format!("parameters.{text}"), json!({"name": "web02", "parameters": {text.clone(): "x"}})),
                ("parameters.role".to_owned(), json!({"name": "web02", "parameters": {"role": text}})),
                (text.clone(), json!({"name": "web02", text.clone(): "x"})),
            ] {
                assert_eq!(site.post("/v1/nodes", &body).expect(422).fields(), [field], "{body}");
            }
        }
        let body = json!({"groups": [bad], "parameters": {"role": format!("a{bad}")}});
        let answer = site.patch("/v1/nodes/web01.example.com", &body);
        assert_eq!(answer.expect(422).fields(), ["groups[0]", "parameters.role"], "{body}");
    }
    for raw in ["{\"name\":\"web02\u{1}\"}", "{\"name\":\"web\n02\"}"] {
        assert_eq!(site.ask("POST", "/v1/nodes", Some(raw), &[]).expect(400).problem(), "bad-json", "{raw:?}");
    }
    assert_eq!(Traces::of(&site), before);
}

#[test]
fn header_cannot_smuggle_another() {
    let site = primed();
    let refused = "422 invalid";
    let cases: Vec<(String, Vec<u8>, &str)> =
        [("Idempotency-Key", "400 bad-request"), ("If-None-Match", refused), ("X-ESPM-PSK", "401 unauthorized")]
            .iter()
            .flat_map(|(name, passed)| {
                let of = |text: &str| post_whole(&site, &padded(30), &[format!("{name}: {text}").as_bytes()]);
                [
                    (format!("{name}: a carriage return"), of("a\rX-Injected: 1"), "400 server"),
                    (format!("{name}: a NUL"), of("a\0b"), "400 server"),
                    (format!("{name}: a folded line"), of("a\r\n b"), by(&site, "400 server", passed, passed)),
                    (
                        format!("{name}: a control character"),
                        of("a\u{1}b"),
                        by(&site, passed, "400 server", "400 server"),
                    ),
                ]
            })
            .collect();
    let cases: Vec<_> = cases.iter().map(|(what, bytes, want)| (what.as_str(), bytes.clone(), *want)).collect();
    judge(&site, &cases);
    // A bare line feed ends a header for nginx: what follows is a header of the client's, in the request alone.
    let line = wire(&site, "GET /v1/groups", &[b"If-None-Match: a\nX-Injected: 1"], b"");
    judge(&site, &[("a line feed", line, by(&site, "200 espm", "400 server", "400 server"))]);
}
