//! The layout of the library: the order of its modules, and the one module of each dependency.
//!
//! `src/lib.rs` declares the modules floor by floor, the lowest first, with a blank line between two floors.
//! A module imports only from floors below its own.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test reads files and panics"
)]

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, Macro, MetaList, Path, UseTree};

/// What one module alone uses, so that it can be replaced there.
const ROOMS: [(&str, &str); 12] = [
    ("rusqlite", "ledger"),
    ("rcgen", "setup or authority::executor::api"),
    ("ureq", "authority::executor::api"),
    ("rustls", "authority::executor::api"),
    ("subprocess", "system::command"),
    ("syslog", "audit"),
    ("fastcgi", "http::gateway"),
    ("icu_collator", "model::fold"),
    ("ini", "system::ini"),
    ("rustls_pemfile", "system::x509"),
    ("x509_parser", "system::x509"),
    ("std::process::Command", "system::command"),
];

type Words = Vec<String>;

/// A source file: the path of its module, and its text.
type Source = (Words, String);

fn words(path: &str) -> Words {
    path.split("::").map(str::to_owned).collect()
}

/// The paths of a file, from `crate` or from a crate's name.
#[derive(Default)]
struct Paths {
    module: Words,
    /// Each name that a `use` or a `mod` declares here, with what it stands for.
    names: Vec<(String, Words)>,
    found: Vec<Words>,
}

impl Paths {
    fn read((module, text): &Source) -> Vec<Words> {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{module:?}: {error}"));
        let mut paths = Self { module: module.clone(), ..Self::default() };
        // A `use` may stand below the paths that need it, so all are read first.
        paths.visit_file(&file);
        paths.found.clear();
        paths.visit_file(&file);
        paths.found
    }

    fn add(&mut self, path: &[String]) {
        let up = path.iter().take_while(|word| *word == "super").count();
        if up > 0 || path[0] == "self" {
            let base = &self.module[..self.module.len().saturating_sub(up)];
            self.found.push([&["crate".to_owned()], base, &path[up.max(1)..]].concat());
            return;
        }
        // A name that is declared here hides a crate of that name.
        let known = self.names.iter().filter(|(name, _)| *name == path[0]);
        let before = self.found.len();
        self.found.extend(known.map(|(_, target)| [target, &path[1..]].concat()));
        if self.found.len() == before {
            self.found.push(path.to_vec());
        }
    }

    fn tree(&mut self, tree: &UseTree, prefix: &[String]) {
        let joined = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &joined(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, prefix)),
            UseTree::Name(name) if name.ident == "self" => self.import(prefix, prefix.last().unwrap()),
            UseTree::Name(name) => self.import(&joined(&name.ident), &name.ident.to_string()),
            UseTree::Rename(rename) => self.import(&joined(&rename.ident), &rename.rename.to_string()),
            UseTree::Glob(_) => self.add(&[prefix, &["*".to_owned()]].concat()),
        }
    }

    fn import(&mut self, path: &[String], name: &str) {
        self.add(path);
        let target = self.found.last().unwrap().clone();
        self.names.push((name.to_owned(), target));
    }

    /// The paths in what a macro gets, which is not parsed.
    fn tokens(&mut self, tokens: &TokenStream) {
        let text = flat(tokens).replace(":: ", "::");
        let runs = text.split(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
        runs.filter(|run| run.contains("::")).for_each(|path| self.add(&words(path)));
    }
}

/// Tokens as text, without literals.
fn flat(tokens: &TokenStream) -> String {
    let text = |token| match token {
        TokenTree::Group(group) => format!(" {} ", flat(&group.stream())),
        TokenTree::Ident(word) => format!(" {word}"),
        TokenTree::Punct(sign) => sign.to_string(),
        TokenTree::Literal(_) => " ".to_owned(),
    };
    tokens.clone().into_iter().map(text).collect()
}

impl Visit<'_> for Paths {
    fn visit_item_mod(&mut self, item: &ItemMod) {
        let name = item.ident.to_string();
        let target = [&["crate".to_owned()], self.module.as_slice(), std::slice::from_ref(&name)].concat();
        self.names.push((name.clone(), target));
        self.module.push(name);
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &Path) {
        let words: Words = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if words.len() > 1 {
            self.add(&words);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &Macro) {
        self.tokens(&call.tokens);
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, list: &MetaList) {
        self.tokens(&list.tokens);
    }
}

/// The floors from the lowest up, as the blank lines of `lib.rs` part them.
fn floors(lib: &str) -> Vec<Words> {
    let modules = |floor: &str| {
        let items = syn::parse_file(floor).unwrap().items.into_iter();
        items.filter_map(|item| if let Item::Mod(item) = item { Some(item.ident.to_string()) } else { None }).collect()
    };
    lib.split("\n\n").map(modules).filter(|floor: &Words| !floor.is_empty()).collect()
}

/// Everything that the rules forbid.
/// Whether a module is in a room, of which there may be two.
fn is_in(source: &Source, room: &str) -> bool {
    room.split(" or ").any(|room| source.0.starts_with(&words(room)))
}

fn violations(floors: &[Words], source: &Source) -> BTreeSet<String> {
    let floor_of = |module: &String| floors.iter().position(|floor| floor.contains(module));
    let here = source.0.join("::");
    let top = &source.0[0];
    let Some(floor) = floor_of(top) else { return BTreeSet::from([format!("{top} is on no floor")]) };
    let mut found = BTreeSet::new();
    for path in Paths::read(source) {
        if let [first, used, ..] = path.as_slice()
            && first == "crate"
            && used != top
        {
            match floor_of(used) {
                Some(below) if below < floor => {}
                Some(_) => drop(found.insert(format!("{here} uses {used}, which is not below it"))),
                None => drop(found.insert(format!("{here} uses {used}, which is on no floor"))),
            }
        }
        for (thing, room) in ROOMS {
            let thing = words(thing);
            let uses = path.starts_with(&thing)
                || path.split_last().is_some_and(|(last, all)| last == "*" && thing.starts_with(all));
            if uses && !is_in(source, room) {
                found.insert(format!("{here} uses {}, which is {room}'s alone", thing.join("::")));
            }
        }
    }
    found
}

fn read_sources(directory: &FilePath, module: &[String], sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner = if name == "mod" { module.to_vec() } else { [module, std::slice::from_ref(&name)].concat() };
        if path.is_dir() && name != "bin" {
            read_sources(&path, &inner, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "lib" {
            sources.push((inner, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn library() -> (Vec<Words>, Vec<Source>) {
    let src = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read_sources(&src, &[], &mut sources);
    (floors(&std::fs::read_to_string(src.join("lib.rs")).unwrap()), sources)
}

#[test]
fn module_imports_only_from_floors_below_and_a_dependency_has_one_module() {
    let (floors, sources) = library();
    assert!(floors.len() > 5 && sources.len() > 40, "src is not where it was");
    let found: Vec<_> = sources.iter().flat_map(|source| violations(&floors, source)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_room_is_used() {
    let (_, sources) = library();
    for (thing, room) in ROOMS {
        for room in room.split(" or ") {
            let mut of_room = sources.iter().filter(|source| is_in(source, room));
            let used = of_room.any(|source| Paths::read(source).iter().any(|path| path.starts_with(&words(thing))));
            assert!(used, "{room} does not use {thing}");
        }
    }
}

#[test]
fn each_rule_finds_what_it_forbids() {
    let (floors, _) = library();
    let check = |module: &str, text: &str| Vec::from_iter(violations(&floors, &(words(module), text.to_owned())));
    for row in FORBIDDEN.trim().lines() {
        let [module, text, used] = row.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(check(module, text), [format!("{module} uses {used}")], "{text}");
    }
    assert_eq!(check("nowhere", ""), ["nowhere is on no floor"]);
    for row in ALLOWED.trim().lines() {
        let (module, text) = row.split_once(" | ").unwrap();
        assert_eq!(check(module, text), Vec::<String>::new(), "{text}");
    }
}

/// A module, its text, and what is found.
const FORBIDDEN: &str = r##"
console | use crate::config::Config; | config, which is not below it
console | use crate::{model::name, service::nodes}; | service, which is not below it
console | fn f() { crate::audit::complain("") } | audit, which is not below it
console | fn f() -> Vec<crate::audit::Audit> {} | audit, which is not below it
console | fn f() { println!("{}", g(crate::audit::X)) } | audit, which is not below it
console | #[serde(with(crate::audit::x))] struct X; | audit, which is not below it
console | use super::ledger; | ledger, which is not below it
console::rake | use super::super::ledger as l; | ledger, which is not below it
cli::check | use super::super::http; | http, which is not below it
enc | mod tests { fn f() { super::super::setup::main() } } | setup, which is not below it
cli | use crate::nowhere; | nowhere, which is on no floor
config | use rusqlite::Connection; | rusqlite, which is ledger's alone
config | use rusqlite as database; | rusqlite, which is ledger's alone
cli::check | fn f() { rcgen::generate() } | rcgen, which is setup or authority::executor::api's alone
system::lock | use subprocess::{Exec, Job}; | subprocess, which is system::command's alone
http | fn f(f: syslog::Facility) {} | syslog, which is audit's alone
http | use fastcgi::run; | fastcgi, which is http::gateway's alone
cli | fn f() { ini::inistr!(x) } | ini, which is system::ini's alone
cli | fn f() { g!(x, [ini::read(y)]) } | ini, which is system::ini's alone
cli | use rustls_pemfile::Item; | rustls_pemfile, which is system::x509's alone
cli | use x509_parser::time; | x509_parser, which is system::x509's alone
cli | use std::process::{Command as C, Id}; | std::process::Command, which is system::command's alone
cli | use std::process::*; | std::process::Command, which is system::command's alone
cli | fn f() { process::Command::new() } use std::process; | std::process::Command, which is system::command's alone
cli | fn f() { std::process::Command::new("x") } | std::process::Command, which is system::command's alone
"##;

const ALLOWED: &str = r##"
cli | const X: &str = "crate::http::x \" crate::http::x"; const Y: char = '"'; // use crate::http;
cli | const X: &str = r#"" crate::http::x"#; fn f<'a>(x: &'a str) -> std::process::ExitCode {}
cli | mod tests { use super::Cli; } use self::check::main; use crate::cli::x;
console::task | use super::listing::Listing; use crate::model::name::NodeName as Name;
cli | fn f() { ini::read() } use crate::system::ini;
system | mod ini; use ini::read;
cli | fn f(ini: u8) { g(ini) } use crate::system::x as ini; use ini::read;
ledger::row | use rusqlite::Row;
"##;

/// Revoking is irreversible: one function asks the CA for it, and takes the reason.
#[test]
fn one_place_asks_the_ca_to_revoke() {
    let asks = |(module, text): &Source| {
        let is_asked = module[0] != "authority" && text.contains("Verb::Revoke");
        is_asked.then(|| (module.join("::"), text.matches("Verb::Revoke").count()))
    };
    let places: Vec<_> = library().1.iter().filter_map(asks).collect();
    assert_eq!(places, [("service::change".to_owned(), 1)]);
}
