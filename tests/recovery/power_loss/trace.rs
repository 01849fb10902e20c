//! What a program does to files, as strace sees it.

use std::fs;
use std::path::Path;

use crate::harness::strace::Request;
use crate::harness::{Answer, Site};

/// strace's options that record file operations, with the paths of descriptors and all bytes.
pub fn options(to: &str) -> Vec<String> {
    let calls = "trace=open,openat,write,sendto,pwrite64,ftruncate,fsync,fdatasync,syncfs,unlink,rename,linkat,clone,clone3,\
                 fork,vfork";
    ["-o", to, "-y", "-xx", "-s", "1000000", "-e", calls, "-e", "signal=none"].map(str::to_owned).to_vec()
}

pub fn lines(trace: &Path) -> Vec<String> {
    fs::read_to_string(trace).unwrap().lines().map(str::to_owned).collect()
}

/// What strace sees of a handler.
pub fn traced(site: &Site, request: &Request) -> (Vec<String>, Answer) {
    let to = site.dir.join("run/trace");
    let output = site.handle_traced(request, &options(to.to_str().unwrap()));
    (lines(&to), Answer::from_cgi(&String::from_utf8(output.stdout).unwrap()))
}

/// A file operation of a trace, on a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Create,
    Write {
        at: Option<usize>,
        bytes: Vec<u8>,
    },
    Cut(usize),
    Sync,
    Unlink,
    /// Of the whole file system.
    SyncAll,
    Rename(String),
    Link(String),
    /// A program is started.
    Start,
    /// A server is told something.
    Send,
}

pub fn unescape(text: &str) -> Vec<u8> {
    let hex = text.split("\\x").skip(1).map(|digits| u8::from_str_radix(&digits[..2], 16).unwrap());
    hex.collect()
}

/// The quoted strings of a line.
pub fn strings(line: &str) -> Vec<String> {
    let odd = line.split('"').skip(1).step_by(2);
    odd.map(|text| String::from_utf8_lossy(&unescape(text)).into_owned()).collect()
}

/// The path of the descriptor that is a call's first argument: `call(5</path>, ...`.
pub fn path_of(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    // With -xx strace escapes paths, too.
    if inside.contains("\\x") { String::from_utf8_lossy(&unescape(inside)).into_owned() } else { inside.to_owned() }
}

pub fn act(line: &str) -> Option<(String, Act)> {
    let (call, arguments) = line.split_once('(')?;
    if line.contains(" = -1 ") {
        return None;
    }
    let last_number = || {
        let inside = arguments.rsplit_once(") ").map_or(arguments, |(inside, _)| inside);
        inside.trim_end_matches(')').rsplit(", ").next()?.trim().parse::<usize>().ok()
    };
    let bytes = || unescape(line.split('"').nth(1).unwrap_or_default());
    Some(match call {
        "open" | "openat" if line.contains("O_CREAT") => (strings(line).first()?.clone(), Act::Create),
        "write" => (path_of(line), Act::Write { at: None, bytes: bytes() }),
        "sendto" => (path_of(line), Act::Send),
        "pwrite64" => (path_of(line), Act::Write { at: last_number(), bytes: bytes() }),
        "ftruncate" => (path_of(line), Act::Cut(last_number()?)),
        "fsync" | "fdatasync" => (path_of(line), Act::Sync),
        "syncfs" => (path_of(line), Act::SyncAll),
        "linkat" => (strings(line).first()?.clone(), Act::Link(strings(line).get(1)?.clone())),
        "unlink" => (strings(line).first()?.clone(), Act::Unlink),
        "rename" => (strings(line).first()?.clone(), Act::Rename(strings(line).get(1)?.clone())),
        "clone" | "clone3" | "fork" | "vfork" => (String::new(), Act::Start),
        _ => return None,
    })
}

pub fn acts(trace: &[String]) -> Vec<(String, Act)> {
    trace.iter().filter_map(|line| act(line)).collect()
}
