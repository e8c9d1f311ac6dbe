//! docs/commands.md, made from the command line's definition and from the types that are printed.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use clap::CommandFactory as _;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::{Cli, audit::AttackReport, monitor::LostLine, render::Refusal, upgrade};
use crate::{
    bench,
    bpf::Cost,
    service::{Dropped, EndpointReport, Finding, NetworkReport, StatsReport, audit, doctor},
};

const INTRODUCTION: &str = "\
# Commands

What scripts can rely on: exit status, environment, and what each command prints with `--format json`. `ipvlan-ctl --help` and
`ipvlan-ctl COMMAND --help` say what the commands do; `ipvlan-ctl man DIR` writes that as manual pages, `ipvlan-ctl completions SHELL`
a completion script.

This page is made from the code: `IPVLAN_UPDATE_DOCS=1 cargo test --package ipvlan-ctl --lib documentation` writes it, and the test
fails where it differs.

## Exit status

| status | meaning |
|---|---|
| 0 | success; `doctor`: nothing is missing |
| 1 | failure: the machine, or the state, doesn't allow it; `doctor`: something is missing |
| 2 | bad input, whatever the state of the machine |
| 3, 4, 5 | `audit`: the heaviest risk is medium, high, critical; with `--attack`, 4: something that must work didn't, 5: an attack came through |
| 126 | `run`, `exec`: the command can't be run |
| 127 | `run`, `exec`: the command isn't there |
| 128 + N | `run`, `exec`: signal N has ended the command |
| any | `run`, `exec`: the command's own |

Results are on stdout; errors, warnings and what `--verbose` says on stderr. With `--format json` the error is on stdout instead. Where
one of several things can't be removed the others still are; their names are printed, or with `--format json` only the last error.

## Environment

| variable | same as |
|---|---|
";

const JSON: &str = "
## JSON

Field names and types stay; fields may be added. Bytes, frames and drops are counted since the endpoint or the parent was made.
";

/// Commands whose results are no data.
const WITHOUT_JSON: [&str; 6] = ["completions", "exec", "log", "man", "run", "serve"];

/// A document, and the commands that print it.
struct Document {
    commands: &'static [&'static str],
    says: &'static str,
    schema: Option<Value>,
}

fn document<T: JsonSchema>(commands: &'static [&'static str], says: &'static str) -> Document {
    let settings = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    Document { commands, says, schema: Some(schema) }
}

fn documents() -> Vec<Document> {
    vec![
        document::<NetworkReport>(
            &["network create", "network inspect", "network ls"],
            "A list of networks, each",
        ),
        document::<EndpointReport>(&["inspect", "ps"], "A list of endpoints, each"),
        document::<EndpointReport>(&["attach"], "The endpoint"),
        document::<StatsReport>(
            &["stats"],
            "A list of endpoints, then parents, or of networks; with `--watch` a line each time. Each",
        ),
        document::<Dropped>(&["monitor"], "A line for each drop"),
        document::<LostLine>(&["monitor"], "and a line where there were more"),
        document::<Cost>(&["programs"], "A list of programs, each"),
        document::<bench::Report>(&["bench"], "What was measured"),
        document::<audit::Risk>(&["audit"], "A list of risks, the heaviest first, each"),
        document::<AttackReport>(&["audit"], "With `--attack`, what came of every case"),
        document::<doctor::Row>(&["doctor"], "A list of checks, each"),
        document::<Finding>(&["reconcile"], "A list of what was found, each"),
        document::<upgrade::Row>(&["upgrade"], "A list of parents and endpoints, each"),
        Document {
            commands: &["detach", "network prune", "network rm"],
            says: "A list of the names of what was removed.",
            schema: None,
        },
        document::<Refusal>(&[], "Any command that fails"),
    ]
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (variable, meaning) in environment() {
        writeln!(page, "| `{variable}` | {meaning} |").unwrap();
    }
    page.push_str(JSON);
    for Document { commands, says, schema } in documents() {
        let names: Vec<_> = commands.iter().map(|command| format!("`{command}`")).collect();
        let heading = if names.is_empty() { "Errors".to_owned() } else { names.join(", ") };
        let Some(schema) = schema else {
            writeln!(page, "\n### {heading}\n\n{says}").unwrap();
            continue;
        };
        writeln!(page, "\n### {heading}\n\n{says}:\n\n| field | type | meaning |\n|---|---|---|").unwrap();
        for [field, kind, meaning] in fields("", &schema) {
            writeln!(page, "| `{field}` | {kind} | {meaning} |").unwrap();
        }
    }
    page
}

/// Variables that the command line reads, and what they stand for.
fn environment() -> BTreeSet<(String, String)> {
    fn collect(command: &clap::Command, found: &mut BTreeSet<(String, String)>) {
        for argument in command.get_arguments() {
            if let (Some(variable), Some(option)) = (argument.get_env(), argument.get_long()) {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                found.insert((variable.to_string_lossy().into_owned(), format!("`--{option}`: {help}")));
            }
        }
        command.get_subcommands().for_each(|command| collect(command, found));
    }
    let no_color =
        ("NO_COLOR".to_owned(), "set and not empty: no colours, <https://no-color.org>".to_owned());
    let mut found = BTreeSet::from([no_color]);
    collect(&Cli::command(), &mut found);
    found
}

/// The rows of an object's fields, and of the fields of objects in it.
fn fields(prefix: &str, schema: &Value) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        let meaning = field["description"].as_str().unwrap_or_default();
        let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
        rows.push([path.clone(), kind(field), meaning]);
        let inner = not_null(field).unwrap_or(field);
        rows.extend(fields(&format!("{path}."), inner));
        rows.extend(fields(&format!("{path}[]."), &inner["items"]));
    }
    rows
}

/// The other one of a schema and null.
fn not_null(schema: &Value) -> Option<&Value> {
    schema["anyOf"].as_array()?.iter().find(|it| it["type"] != "null")
}

fn kind(schema: &Value) -> String {
    if let Some(inner) = not_null(schema) {
        return format!("{} or null", kind(inner));
    }
    if let Some(values) = schema["oneOf"].as_array() {
        let values: Vec<_> = values.iter().filter_map(|it| it["const"].as_str()).collect();
        return format!("`{}`", values.join("`, `"));
    }
    if let Some(types) = schema["type"].as_array() {
        let mut inner = schema.clone();
        inner["type"] = types[0].clone();
        return format!("{} or null", kind(&inner));
    }
    let text = match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("ipv4")) => "IPv4 address",
        (Some("string"), Some("ipv6")) => "IPv6 address",
        (Some("string"), Some("ip")) => "IP address",
        (Some("object"), _) if schema["properties"].is_null() => {
            return format!("object of {}s by name", kind(&schema["additionalProperties"]));
        }
        (Some("array"), _) => return format!("list of {}s", kind(&schema["items"])),
        (Some(other), _) => other,
        (None, _) => panic!("a type that this page has no name for: {schema}"),
    };
    text.to_owned()
}

#[test]
fn the_page_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/commands.md");
    if std::env::var_os("IPVLAN_UPDATE_DOCS").is_some() {
        fs::write(&path, page()).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page(),
        "docs/commands.md is not what the code says; IPVLAN_UPDATE_DOCS=1 writes it anew"
    );
}

#[test]
fn every_field_has_a_meaning() {
    for schema in documents().into_iter().filter_map(|document| document.schema) {
        let fields = fields("", &schema);
        assert!(!fields.is_empty(), "{schema}");
        for [field, _, meaning] in fields {
            assert!(!meaning.is_empty(), "{field} has no docstring");
        }
    }
}

#[test]
fn every_command_is_on_the_page() {
    fn check(command: &clap::Command, path: &str, known: &BTreeSet<&str>) {
        for command in command.get_subcommands() {
            let path = format!("{path} {}", command.get_name()).trim().to_owned();
            assert!(command.has_subcommands() || known.contains(path.as_str()), "'{path}' is not documented");
            check(command, &path, known);
        }
    }
    let documents = documents();
    let known = documents.iter().flat_map(|it| it.commands).copied().chain(WITHOUT_JSON).collect();
    check(&Cli::command(), "", &known);
}

#[test]
fn completions_name_a_command() {
    use clap_complete::Shell::{Bash, Fish, Zsh};
    for shell in [Bash, Zsh, Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "ipvlan-ctl", &mut script);
        let text = String::from_utf8(script).unwrap();
        assert!(text.contains("monitor") && text.contains("inspect"), "{shell}");
        let (Bash, Ok(mut child)) =
            (shell, std::process::Command::new("bash").arg("-n").stdin(std::process::Stdio::piped()).spawn())
        else {
            continue;
        };
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "bash refuses the script");
    }
}

#[test]
fn manual_pages_are_written() {
    let directory = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(Cli::command(), directory.path()).unwrap();
    for (page, says) in [
        ("ipvlan-ctl.1", "Exit status"),
        ("ipvlan-ctl-network-create.1", "subnet"),
        ("ipvlan-ctl-doctor.1", "PARENT"),
    ] {
        let text = fs::read_to_string(directory.path().join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains(says), "{page}:\n{text}");
    }
}
