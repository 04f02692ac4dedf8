//! Checks what is asked and answered in GraphQL against GitHub's own schema.

use apollo_compiler::ast::Type;
use apollo_compiler::executable::{Selection, SelectionSet};
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::response::JsonMap;
use apollo_compiler::{ExecutableDocument, Schema};
use serde_json::Value;

const SCHEMA: &str = include_str!("../data/github-graphql.graphql");

/// Everything in which an exchange differs from the schema.
pub fn problems(request: &Value, response: Option<&Value>) -> Vec<String> {
    let schema = Schema::parse_and_validate(SCHEMA, "schema").expect("the schema is one");
    let query = request["query"].as_str().unwrap_or_default();
    let document = match ExecutableDocument::parse_and_validate(&schema, query, "query") {
        Ok(document) => document,
        Err(e) => return vec![e.errors.to_string()],
    };
    let operation = document.operations.get(None).expect("there is one operation");
    let variables: JsonMap =
        serde_json::from_value(request["variables"].clone()).expect("variables are an object");
    if let Err(e) = coerce_variable_values(&schema, operation, &variables) {
        return vec![format!("{e:?}")];
    }
    let data = response.map(|response| &response["data"]).filter(|data| !data.is_null());
    let mut problems = Vec::new();
    if let Some(data) = data {
        object(&operation.selection_set, data, "data", &mut problems);
    }
    problems
}

fn object(wanted: &SelectionSet, given: &Value, at: &str, problems: &mut Vec<String>) {
    let Some(fields) = given.as_object() else {
        problems.push(format!("{at} is no object"));
        return;
    };
    let mut known = 0;
    for selection in &wanted.selections {
        match selection {
            Selection::Field(field) => {
                known += 1;
                let at = format!("{at}.{}", field.name);
                match fields.get(field.name.as_str()) {
                    Some(value) => {
                        typed(&field.definition.ty, &field.selection_set, value, &at, problems);
                    }
                    None => problems.push(format!("{at} is missing")),
                }
            }
            Selection::InlineFragment(inner) => {
                object(&inner.selection_set, given, at, problems);
                return;
            }
            Selection::FragmentSpread(_) => problems.push(format!("{at}: a fragment")),
        }
    }
    if fields.len() != known {
        problems.push(format!("{at} has fields that were not asked for"));
    }
}

fn typed(ty: &Type, wanted: &SelectionSet, given: &Value, at: &str, problems: &mut Vec<String>) {
    if given.is_null() {
        if ty.is_non_null() {
            problems.push(format!("{at} is null"));
        }
        return;
    }
    if ty.is_list() {
        let Some(all) = given.as_array() else {
            problems.push(format!("{at} is no list"));
            return;
        };
        for one in all {
            typed(ty.item_type(), wanted, one, at, problems);
        }
        return;
    }
    let scalar = match ty.inner_named_type().as_str() {
        "String" => given.is_string(),
        "DateTime" => given.as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok()),
        _ => return object(wanted, given, at, problems),
    };
    if !scalar {
        problems.push(format!("{at} is {given}"));
    }
}
