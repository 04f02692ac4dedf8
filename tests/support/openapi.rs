//! Checks exchanges with the embedded GitHub against GitHub's own description of its API, so that
//! neither the program's requests nor the fake's answers drift toward what the other wants.

use std::collections::HashMap;
use std::sync::LazyLock;

use claude_workers::fakehub::Exchange;
use jsonschema::Validator;
use serde_json::{Value, json};

#[path = "graphql.rs"]
mod graphql;

const DESCRIPTION: &str = include_str!("../data/github-openapi.json");

static DESCRIBED: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(DESCRIPTION).expect("the description is JSON"));

/// Everything in which the exchanges differ from the description; empty if nothing does. Git's
/// own exchanges are left out, and so are answers that were injected.
pub fn validate_exchanges(exchanges: &[Exchange]) -> Vec<String> {
    let mut checker = Checker { validators: HashMap::new() };
    let rest = exchanges.iter().filter(|e| e.api);
    rest.flat_map(|e| checker.check(e).into_iter().map(|p| format!("{}: {p}", e.line()))).collect()
}

/// `get /repos/{owner}/{repo}/issues`: the operation that was asked for, and its description. An
/// error if GitHub has none such.
pub fn operation_of(exchange: &Exchange) -> Result<(String, &'static Value), String> {
    // Repositories by id are GitHub's own shorthand, which the description leaves out.
    let named = match exchange.path.strip_prefix("/repositories/") {
        Some(rest) => format!("/repos/by-id/{rest}"),
        None => exchange.path.clone(),
    };
    let paths = DESCRIBED["paths"].as_object().expect("paths are an object");
    let fitting = paths.keys().filter(|template| fits(template, &named));
    // The one with most literal parts means this path.
    let path = fitting
        .max_by_key(|t| t.split('/').filter(|p| !p.starts_with('{')).count())
        .ok_or("no such path in GitHub's description")?;
    let method = exchange.method.to_lowercase();
    match paths[path].get(&method) {
        Some(operation) => Ok((format!("{method} {path}"), operation)),
        None => Err(format!("no such method on {path} in GitHub's description")),
    }
}

struct Checker {
    /// Compiled once per place in the description.
    validators: HashMap<String, Validator>,
}

impl Checker {
    fn check(&mut self, exchange: &Exchange) -> Vec<String> {
        if let ("/graphql", Some(asked)) = (exchange.path.as_str(), &exchange.request) {
            let answer = exchange.response.as_ref().filter(|_| !exchange.injected);
            return graphql::problems(asked, answer);
        }
        let (place, operation) = match operation_of(exchange) {
            Ok(found) => found,
            Err(problem) => return vec![problem],
        };
        let mut problems = self.check_query(&place, operation, &exchange.query);
        // What was refused with a documented error shows a request that was wrong on purpose.
        let accepted = exchange.injected || exchange.status.is_none_or(|s| s < 400);
        if accepted {
            problems.extend(self.check_request(&place, operation, exchange.request.as_ref()));
        }
        if let Some(status) = exchange.status.filter(|_| !exchange.injected) {
            let response = exchange.response.as_ref();
            problems.extend(self.check_response(&place, operation, status, response));
        }
        problems
    }

    fn check_query(&mut self, place: &str, operation: &Value, query: &str) -> Vec<String> {
        let mut problems = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(schema) = operation["query"].get(name) else {
                problems.push(format!("no query parameter `{name}`"));
                continue;
            };
            let value = match schema["type"].as_str() {
                Some("integer" | "boolean") => serde_json::from_str(text).unwrap_or(json!(text)),
                _ => json!(text.replace("%3A", ":")),
            };
            problems.extend(self.validate(&format!("{place} ?{name}"), schema, &value));
        }
        problems
    }

    fn check_request(
        &mut self,
        place: &str,
        operation: &Value,
        request: Option<&Value>,
    ) -> Vec<String> {
        let schema = &operation["request"];
        match request {
            None if operation["requestRequired"] == true => vec!["no request body".to_owned()],
            None => Vec::new(),
            Some(_) if schema.is_null() => vec!["a request body where none belongs".to_owned()],
            Some(body) => {
                let mut problems = self.validate(&format!("{place} request"), schema, body);
                let known = properties(schema);
                let fields = body.as_object().into_iter().flat_map(|fields| fields.keys());
                let unknown = fields.filter(|f| !known.contains(f));
                problems.extend(unknown.map(|field| format!("no request field `{field}`")));
                problems
            }
        }
    }

    fn check_response(
        &mut self,
        place: &str,
        operation: &Value,
        status: u16,
        response: Option<&Value>,
    ) -> Vec<String> {
        let documented = operation["responses"].get(status.to_string());
        let schema = match (documented, status) {
            (Some(schema), _) if !schema.is_null() => schema.clone(),
            (Some(_), ..400) | (None, 304) => {
                let body = response.map(|_| format!("{status} with a body"));
                return body.into_iter().collect();
            }
            // These GitHub answers everywhere, documented or not.
            (_, 422) => json!({"$ref": "#/components/schemas/validation-error"}),
            (_, 301 | 307 | 400 | 401 | 403 | 404 | 409 | 410 | 429) => json!({
                "$ref": "#/components/schemas/basic-error", "required": ["message"],
            }),
            _ => return vec![format!("status {status} is not documented")],
        };
        match response {
            Some(body) => self.validate(&format!("{place} {status}"), &schema, body),
            None => vec![format!("{status} without a JSON body")],
        }
    }

    /// What is wrong with a value; the schema's place names its compiled form.
    fn validate(&mut self, place: &str, schema: &Value, value: &Value) -> Vec<String> {
        let validator = self.validators.entry(place.to_owned()).or_insert_with(|| {
            let whole = json!({"allOf": [schema], "components": DESCRIBED["components"]});
            jsonschema::options()
                .with_draft(jsonschema::Draft::Draft202012)
                .should_validate_formats(true)
                .build(&whole)
                .unwrap_or_else(|e| panic!("the schema of {place} does not compile: {e}"))
        });
        let errors = validator.iter_errors(value);
        errors.map(|e| format!("{place}{}: {e}", e.instance_path())).collect()
    }
}

/// Whether a path fits a template; the last placeholder `{ref}` takes any number of parts.
fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) | (Some("{ref}"), Some(_)) => return true,
            (Some(w), Some(g)) if w == g || (w.starts_with('{') && !g.is_empty()) => {}
            _ => return false,
        }
    }
}

/// The names of the fields that a request may have.
fn properties(schema: &Value) -> Vec<&String> {
    let own = schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys());
    let alternatives = ["oneOf", "anyOf", "allOf"].into_iter();
    let nested = alternatives.filter_map(|word| schema[word].as_array()).flatten();
    own.chain(nested.flat_map(properties)).collect()
}
