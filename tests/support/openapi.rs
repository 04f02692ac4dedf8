//! Checks exchanges with the embedded GitHub against GitHub's own description of its API, so that
//! neither the program's requests nor the fake's answers drift toward what the other wants.

use std::collections::HashMap;

use claude_workers::fakehub::Exchange;
use jsonschema::Validator;
use serde_json::{Value, json};

const DESCRIPTION: &str = include_str!("../data/github-openapi.json");

/// Everything in which the exchanges differ from the description; empty if nothing does. Git's
/// own exchanges are left out, and so are answers that were injected.
pub fn validate_exchanges(exchanges: &[Exchange]) -> Vec<String> {
    let mut description = Description::read();
    let rest = exchanges.iter().filter(|e| e.api);
    rest.flat_map(|e| description.check(e).into_iter().map(|p| format!("{}: {p}", e.line())))
        .collect()
}

/// `get /repos/{owner}/{repo}/issues`, if the description has the operation that was asked for.
pub fn operation_of(exchange: &Exchange) -> Option<String> {
    let description = Description::read();
    let path = description.path_of(&exchange.path)?;
    let method = exchange.method.to_lowercase();
    description.json["paths"][&path].get(&method)?;
    Some(format!("{method} {path}"))
}

struct Description {
    json: Value,
    /// Compiled once per place in the description.
    validators: HashMap<String, Validator>,
}

impl Description {
    fn read() -> Self {
        let json = serde_json::from_str(DESCRIPTION).expect("the description is JSON");
        Self { json, validators: HashMap::new() }
    }

    /// The description's path that fits: the one with most literal parts.
    fn path_of(&self, path: &str) -> Option<String> {
        // Repositories by id are GitHub's own shorthand, which the description leaves out.
        let named = match path.strip_prefix("/repositories/") {
            Some(rest) => format!("/repos/by-id/{rest}"),
            None => path.to_owned(),
        };
        let paths = self.json["paths"].as_object().expect("paths are an object");
        let fitting = paths.keys().filter(|template| fits(template, &named));
        fitting.max_by_key(|t| t.split('/').filter(|p| !p.starts_with('{')).count()).cloned()
    }

    fn check(&mut self, exchange: &Exchange) -> Vec<String> {
        let Some(path) = self.path_of(&exchange.path) else {
            return vec!["no such path in GitHub's description".to_owned()];
        };
        let method = exchange.method.to_lowercase();
        let Some(operation) = self.json["paths"][&path].get(&method).cloned() else {
            return vec![format!("no such method on {path} in GitHub's description")];
        };
        let place = format!("{method} {path}");
        let mut problems = self.check_query(&place, &operation, &exchange.query);
        // What the fake refused shows that a request was wrong on purpose, or is a finding of its
        // own in the caller's tests.
        let accepted = exchange.injected || exchange.status.is_none_or(|s| s < 400);
        if accepted {
            problems.extend(self.check_request(&place, &operation, exchange.request.as_ref()));
        }
        if let Some(status) = exchange.status.filter(|_| !exchange.injected) {
            let response = exchange.response.as_ref();
            problems.extend(self.check_response(&place, &operation, status, response));
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
            (Some(_), _) | (None, 304) => {
                let body = response.map(|_| format!("{status} with a body"));
                return body.into_iter().collect();
            }
            // These GitHub answers everywhere, documented or not.
            (None, 422) => json!({"$ref": "#/components/schemas/validation-error"}),
            (None, 301 | 307 | 400 | 401 | 403 | 404 | 409 | 410 | 429) => json!({
                "$ref": "#/components/schemas/basic-error", "required": ["message"],
            }),
            (None, _) => return vec![format!("status {status} is not documented")],
        };
        match response {
            Some(body) => self.validate(&format!("{place} {status}"), &schema, body),
            None => vec![format!("{status} without a JSON body")],
        }
    }

    /// What is wrong with a value; the schema's place names its compiled form.
    fn validate(&mut self, place: &str, schema: &Value, value: &Value) -> Vec<String> {
        let validator = self.validators.entry(place.to_owned()).or_insert_with(|| {
            let whole = json!({"allOf": [schema], "components": self.json["components"]});
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
            (None, None) => return true,
            (Some("{ref}"), Some(_)) => return true,
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
