//! An answer, as a web server sends it or as a handler writes it.

use std::collections::BTreeMap;
use std::process::Output;

use serde_json::Value;

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.json()["status"], self.status, "{self:?}");
        self.json()["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    }

    /// Reads what curl prints with its option `-i`.
    pub fn read(text: &str) -> Self {
        let mut rest = text;
        // An interim answer (100 Continue) comes before the final one.
        while let Some((head, after)) = rest.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let status = lines.next().and_then(|line| line.split_whitespace().nth(1)).unwrap_or("0");
            let status: u16 = status.parse().unwrap();
            rest = after;
            if status >= 200 {
                let headers = lines
                    .filter_map(|line| line.split_once(':'))
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                    .collect();
                return Self { status, headers, body: rest.to_owned() };
            }
        }
        panic!("no answer: {text:?}")
    }

    /// Reads what a CGI program writes.
    pub fn from_cgi(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let headers: BTreeMap<_, _> = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let status = headers["status"].split(' ').next().unwrap().parse().unwrap();
        let headers = headers.into_iter().filter(|(name, _)| name != "status").collect();
        Self { status, headers, body: body.to_owned() }
    }

    /// The fields that a 422 complains of.
    pub fn fields(&self) -> Vec<String> {
        let json = self.json();
        let errors = json["errors"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub fn expect(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

pub(super) fn parse_answer(output: &Output) -> Answer {
    assert!(!output.stdout.is_empty(), "no answer: {output:?}");
    Answer::read(&String::from_utf8_lossy(&output.stdout))
}
