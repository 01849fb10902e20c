//! A published node is read as it was meant, values, types and no more, by the YAML that Puppet reads it with: libyaml of
//! Ruby, and SnakeYAML of the JRuby that runs the Puppet server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use espm::console::catalogue::Catalogue;
use espm::model::name::{ClassName, EnvironmentName, GroupName, ParameterName};
use espm::model::node::Assignment;
use espm::model::value::{Parameters, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::config;
use crate::strategies::{parameters, value};

/// Answers each line, a pair of YAML and JSON, with whether both are the same, as Puppet reads YAML.
const RUBY: &str = r#"
def same(a, b)
  return false unless a.class == b.class
  case a
  when Hash then a.keys == b.keys && a.all? { |key, value| same(value, b[key]) }
  when Array then a.size == b.size && a.zip(b).all? { |one, other| same(one, other) }
  else a == b
  end
end
STDOUT.sync = true
STDIN.each_line do |line|
  yaml, json = JSON.parse(line, max_nesting: false)
  read = begin
    YAML.safe_load(yaml, permitted_classes: [Symbol], aliases: true)
  rescue StandardError, Psych::Exception => error
    error.message
  end
  puts(same(read, json) ? "same" : read.inspect.lines.join(" "))
end
"#;

struct Ruby {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Ruby {
    fn start(program: &str) -> Self {
        let mut ruby = Command::new(program);
        ruby.args(["-rjson", "-ryaml", "-Eutf-8", "-e", RUBY]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = ruby.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    fn compare(&mut self, yaml: &str, meant: &Json) -> String {
        writeln!(self.input, "{}", json!([yaml, meant])).unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer
    }
}

impl Drop for Ruby {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A group: environment, and the parameters of each of its classes.
type Group = (Option<String>, BTreeMap<String, Parameters>, Parameters);

#[derive(Debug, Clone)]
struct Shop {
    environments: BTreeSet<String>,
    /// The parameters that a client may set, and the values where nobody sets one.
    classes: BTreeMap<String, (BTreeSet<ParameterName>, Parameters)>,
    groups: BTreeMap<String, Group>,
}

/// JSON that an INI file takes: it has no comment signs.
fn ini(value: &Value) -> String {
    value.json().to_string().replace('#', "\\u0023").replace(';', "\\u003b")
}

impl Shop {
    fn text(&self) -> String {
        let list = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<Vec<_>>().join(", ");
        let mut text = format!("[environments]\nnames = {}\n", list(&mut self.environments.iter()));
        let mut lines = |heading: String, parameters: &Parameters, more: String| {
            text.push_str(&format!("\n[{heading}]\n{more}"));
            for (name, value) in parameters {
                text.push_str(&format!("parameter {name} = {}\n", ini(value)));
            }
        };
        for (name, (settable, parameters)) in &self.classes {
            let settable = settable.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            lines(format!("class {name}"), parameters, format!("parameters = {settable}\n"));
        }
        for (name, (environment, classes, parameters)) in &self.groups {
            let environment = environment.iter().map(|name| format!("environment = {name}\n")).collect::<String>();
            let more = format!("{environment}classes = {}\n", list(&mut classes.keys()));
            lines(format!("group {name}"), parameters, more);
            for (class, parameters) in classes {
                lines(format!("group {name}, class {class}"), parameters, String::new());
            }
        }
        text
    }

    /// The classification that a node with this assignment is to get.
    fn meant(&self, assignment: &Assignment) -> Json {
        let (mut environment, mut parameters) = (None, Parameters::new());
        let mut classes: BTreeMap<String, Parameters> = BTreeMap::new();
        let plain = |class: &String| self.classes[class].1.clone();
        for (of_group, of_classes, of_all) in assignment.groups.iter().map(|name| &self.groups[name.as_str()]) {
            environment = of_group.clone().or(environment);
            parameters.extend(of_all.clone());
            for (class, set) in of_classes {
                classes.entry(class.clone()).or_insert_with(|| plain(class)).extend(set.clone());
            }
        }
        for class in &assignment.classes {
            classes.entry(class.to_string()).or_insert_with(|| plain(&class.to_string()));
        }
        for (class, set) in &assignment.class_parameters {
            if let Some(known) = classes.get_mut(class.as_str()) {
                let (settable, _) = &self.classes[class.as_str()];
                known.extend(set.clone().into_iter().filter(|(name, _)| settable.contains(name)));
            }
        }
        parameters.extend(assignment.parameters.clone());
        let mut meant = json!({"classes": classes});
        if let Some(name) = assignment.environment.as_ref().map(ToString::to_string).or(environment) {
            meant["environment"] = name.into();
        }
        if !parameters.is_empty() {
            meant["parameters"] = json!(parameters);
        }
        meant
    }
}

const CLASSES: [&str; 4] = ["apache::mod::ssl", "ntp", "yes", "null"];
const ENVIRONMENTS: [&str; 3] = ["production", "007", "no"];

fn shop() -> impl Strategy<Value = Shop> {
    let environment = || proptest::option::of(proptest::sample::select(&ENVIRONMENTS[..]).prop_map(str::to_owned));
    let names = || proptest::collection::btree_set(parameter(), 0..3);
    let class = || proptest::sample::select(&CLASSES[..]).prop_map(str::to_owned);
    let classes = vec((names(), parameters()), CLASSES.len())
        .prop_map(|all| CLASSES.into_iter().map(str::to_owned).zip(all).collect::<BTreeMap<_, _>>());
    let group = (environment(), btree_map(class(), parameters(), 0..3), parameters());
    let groups = btree_map("[a-z]{1,2}( [a-z])?", group, 0..3);
    (classes, groups).prop_map(|(classes, groups)| Shop {
        environments: ENVIRONMENTS.map(str::to_owned).into(),
        classes,
        groups,
    })
}

fn parameter() -> impl Strategy<Value = ParameterName> {
    "[a-c]".prop_map(|name| ParameterName::parse(&name).unwrap())
}

/// An assignment of what a shop has, though not only of what it lets a client set.
fn assigned(shop: &Shop) -> impl Strategy<Value = Assignment> + use<> {
    let groups: Vec<_> = shop.groups.keys().map(|name| GroupName::parse(name).unwrap()).collect();
    let class = || proptest::sample::select(&CLASSES[..]).prop_map(|name| ClassName::parse(name).unwrap());
    let set = btree_map(parameter(), value(), 0..3);
    let environment =
        proptest::sample::select(&ENVIRONMENTS[..]).prop_map(|name| EnvironmentName::parse(name).unwrap());
    (
        proptest::sample::subsequence(groups.clone(), 0..=groups.len()).prop_shuffle(),
        proptest::collection::btree_set(class(), 0..3),
        parameters(),
        proptest::option::of(environment),
        btree_map(class(), set, 0..3),
    )
        .prop_map(|(groups, classes, parameters, environment, class_parameters)| Assignment {
            groups,
            classes: classes.into_iter().collect(),
            parameters,
            environment,
            class_parameters,
        })
}

static RUBIES: Mutex<Vec<Ruby>> = Mutex::new(Vec::new());

proptest! {
    #![proptest_config(config())]

    #[test]
    fn published_node_has_assignment_and_no_more(
        (shop, assignment) in shop().prop_flat_map(|shop| { let assigned = assigned(&shop); (Just(shop), assigned) }),
    ) {
        let catalogue = Catalogue::from_text(&shop.text()).unwrap_or_else(|error| panic!("{error}: {}", shop.text()));
        let yaml = catalogue.classify(&assignment);
        prop_assert!(yaml.is_ascii());
        let mut rubies = RUBIES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if rubies.is_empty() {
            rubies.extend(["ruby", "jruby"].map(Ruby::start));
        }
        for ruby in rubies.iter_mut() {
            prop_assert_eq!(ruby.compare(&yaml, &shop.meant(&assignment)), "same\n", "{}", yaml);
        }
    }
}
