//! `payments config`: the settings, checked and shown.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::Failure;
use crate::arguments::ConfigTool;
use crate::output::nobody_reads;
use crate::settings::{Loaded, Shown, Source, WrongSettings, load, shown};

/// The settings are wrong.
const WRONG: u8 = 2;
/// What is told in place of a secret.
const HIDDEN: &str = "(hidden)";
/// Widest column, in characters.
const WIDEST: usize = 40;

/// Settings that are wrong are told like any other result: the command is there to find them.
pub(crate) fn run(tool: &ConfigTool, file: Option<&Path>) -> Result<ExitCode, Failure> {
    let (code, told) = match load(file, std::env::vars_os()) {
        Ok(loaded) => (ExitCode::SUCCESS, tell(tool, &loaded, &mut io::stdout().lock())),
        Err(wrong) => (ExitCode::from(WRONG), tell_wrong(&wrong, &mut io::stdout().lock())),
    };
    match told.map_err(Failure::from) {
        Err(failure) if nobody_reads(&failure) => Ok(code),
        told => told.map(|()| code),
    }
}

fn tell(tool: &ConfigTool, loaded: &Loaded, output: &mut impl Write) -> io::Result<()> {
    match tool {
        ConfigTool::Check => {
            let given = loaded.sources.len();
            writeln!(output, "the settings are right: {given} are given, all others are defaults")
        }
        ConfigTool::Show { json: true, .. } => writeln!(output, "{:#}", as_json(&shown(loaded))),
        ConfigTool::Show { toml: true, .. } => {
            shown(loaded).iter().try_for_each(|setting| writeln!(output, "{}", as_toml(setting)))
        }
        ConfigTool::Show { .. } => as_table(&shown(loaded), output),
    }
}

fn tell_wrong(wrong: &WrongSettings, output: &mut impl Write) -> io::Result<()> {
    wrong.0.iter().try_for_each(|fault| writeln!(output, "{fault}"))
}

fn as_table(settings: &[Shown], output: &mut impl Write) -> io::Result<()> {
    let name = |setting: &Shown| setting.path.join(".");
    let value = |setting: &Shown| setting.value.as_ref().map_or_else(|| HIDDEN.to_owned(), Value::to_string);
    // One long list must not push where everything comes from out of sight.
    let width = |text: String| text.chars().count().min(WIDEST);
    let names = settings.iter().map(|setting| width(name(setting))).max().unwrap_or(0);
    let values = settings.iter().map(|setting| width(value(setting))).max().unwrap_or(0);
    for setting in settings {
        let (name, value) = (name(setting), value(setting));
        writeln!(output, "{name:names$}  {value:values$}  {}", setting.source)?;
    }
    Ok(())
}

fn as_json(settings: &[Shown]) -> Value {
    let line = |Shown { path, value, source }: &Shown| {
        let from = match source {
            Source::Default => json!({ "default": true }),
            Source::File(file) => json!({ "file": file }),
            Source::Environment(variable) => json!({ "environment": variable }),
        };
        let told = match value {
            Some(value) => json!({ "value": value, "from": from }),
            None => json!({ "hidden": true, "from": from }),
        };
        (path.join("."), told)
    };
    Value::Object(settings.iter().map(line).collect::<Map<_, _>>())
}

/// A line that a file of settings may hold; without its value where that is a secret.
fn as_toml(Shown { path, value, source }: &Shown) -> String {
    let bare = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let key =
        |key: &String| if bare(key) { key.clone() } else { toml::Value::from(key.as_str()).to_string() };
    let name = path.iter().map(key).collect::<Vec<_>>().join(".");
    if value == &Some(Value::Null) {
        return format!("# {name} is not set");
    }
    match value.as_ref().map(toml::Value::try_from) {
        Some(Ok(value)) => format!("{name} = {value}  # {source}"),
        Some(Err(_)) | None => format!("# {name} = {HIDDEN}  # {source}"),
    }
}
