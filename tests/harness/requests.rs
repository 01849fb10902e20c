//! Requests to a site through curl, or as bytes.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::Site;
use super::answer::{Answer, parse_answer};

/// A node with a group, a class and a parameter.
pub fn node(name: &str) -> Value {
    json!({"name": name, "groups": ["default"], "classes": ["ntp"], "parameters": {"role": "web"}})
}

impl Site {
    /// Asks with exactly these curl options, given on its standard input so that none is in an argv.
    pub fn curl(&self, path: &str, options: &[String]) -> Answer {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-i", "--http1.1", "--path-as-is", "--max-time", "120", "-K", "-"])
            .arg("--cacert")
            .arg(self.dir.join("etc/certs/espm.pem"));
        let mut config = format!("url = \"https://localhost:{}{path}\"\n", self.port);
        for option in options {
            config.push_str(option);
            config.push('\n');
        }
        let mut child = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        parse_answer(&output)
    }

    fn options(&self, method: &str, body: Option<&str>, headers: &[&str]) -> Vec<String> {
        let quote =
            |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
        let mut options = vec![];
        match method {
            "HEAD" => options.push("head".to_owned()),
            _ => options.push(format!("request = \"{method}\"")),
        }
        if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("x-espm-psk")) {
            options.push(format!("header = \"X-ESPM-PSK: {}\"", self.psk));
        }
        if let Some(body) = body {
            options.push(format!("data-binary = \"{}\"", quote(body)));
            if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("content-type")) {
                options.push("header = \"Content-Type: application/json\"".to_owned());
            }
        }
        options.extend(headers.iter().map(|header| format!("header = \"{}\"", quote(header))));
        options
    }

    pub fn ask(&self, method: &str, path: &str, body: Option<&str>, headers: &[&str]) -> Answer {
        self.curl(path, &self.options(method, body, headers))
    }

    /// Asks as the site's second client.
    pub fn ask_as_other(&self, method: &str, path: &str, body: Option<&str>, headers: &[&str]) -> Answer {
        let key = format!("X-ESPM-PSK: {}", self.other_psk);
        self.ask(method, path, body, &[&[key.as_str()], headers].concat())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None, &[])
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None, &[])
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(&body.to_string()), &[])
    }

    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.ask("PATCH", path, Some(&body.to_string()), &[])
    }

    /// Adds a node with a group, a class and a parameter.
    #[track_caller]
    pub fn add(&self, name: &str) -> Answer {
        let answer = self.post("/v1/nodes", &node(name));
        answer.expect(201);
        answer
    }

    /// Asks for both lists, which are kept then for longer than any test takes.
    #[track_caller]
    pub fn ask_for_lists(&self) {
        self.configure("console", "cache = 3600");
        for path in ["/v1/classes", "/v1/groups"] {
            self.get(path).expect(200);
        }
    }

    /// Sends bytes over TLS as they are; what comes back until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{}", self.port)]);
        let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || {
            // A server that has heard enough closes early.
            let _ = stdin.write_all(&bytes);
            stdin
        });
        let output = child.wait_with_output().unwrap();
        drop(writer.join());
        output.stdout
    }

    /// The status of the answer to raw bytes, if there is an answer.
    pub fn raw_status(&self, bytes: &[u8]) -> Option<u16> {
        let answer = self.raw(bytes);
        let text = String::from_utf8_lossy(&answer);
        text.split_whitespace().nth(1).and_then(|status| status.parse().ok())
    }
}
