//! `gradcode doctor`: is this machine ready, and for what?

mod bench;
mod machine;

use serde_json::{Map, Value, json};

use crate::cli::DoctorArgs;
use crate::exit::{ENVIRONMENT, Failure, Outcome};
use crate::output;

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Works, but slower or less safely than it could.
    Warn,
    /// Training does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The stable key in JSON.
    pub key: &'static str,
    /// How it is.
    pub state: State,
    /// What was found, for people.
    pub text: String,
    /// What was found, for programs.
    pub value: Value,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

impl Finding {
    /// A finding whose value is its text, in order.
    pub fn ok(key: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Finding {
            key,
            state: State::Ok,
            value: Value::String(text.clone()),
            text,
            hint: None,
        }
    }

    /// With another value for programs.
    #[must_use]
    pub fn value(self, value: Value) -> Self {
        Finding { value, ..self }
    }

    /// Worse than `Ok` if `condition` holds.
    #[must_use]
    pub fn unless(self, condition: bool, state: State, hint: &'static str) -> Self {
        if condition {
            self
        } else {
            Finding {
                state,
                hint: Some(hint),
                ..self
            }
        }
    }
}

/// Looks at everything and says what it means.
///
/// # Errors
/// Exit code 30 when something is missing that training needs; the report is printed all the same.
pub fn run(args: &DoctorArgs) -> Outcome {
    let findings = machine::examine();
    let figures = match args.bench {
        true => Some(bench::measure().map_err(|error| {
            Failure::new(ENVIRONMENT, format!("failed to measure the codec: {error}"))
        })?),
        false => None,
    };
    let failed: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.state == State::Fail)
        .map(|finding| finding.key)
        .collect();
    if args.json {
        let object: Map<String, Value> = findings
            .iter()
            .map(|finding| {
                let entry =
                    json!({ "state": finding.state, "value": finding.value, "hint": finding.hint });
                (finding.key.to_owned(), entry)
            })
            .chain([("ready".to_owned(), Value::Bool(failed.is_empty()))])
            .chain(figures.map(|figures| ("codec_speed".to_owned(), figures.json())))
            .collect();
        output::json(&Value::Object(object))?;
    } else {
        let figures = figures.map_or_else(String::new, |figures| figures.text());
        output::print(&format!("{}{figures}", table(&findings)))?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        ENVIRONMENT,
        format!("this machine is not ready: {}", failed.join(", ")),
    )
    .hint("jobs/setup.sh installs what is missing"))
}

fn table(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.key.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        text.push_str(&format!(
            "{mark}  {:<width$}  {}\n",
            finding.key, finding.text
        ));
        if let Some(hint) = finding.hint {
            text.push_str(&format!("      {:<width$}  hint: {hint}\n", ""));
        }
    }
    text
}
