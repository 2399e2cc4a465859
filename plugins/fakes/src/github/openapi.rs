//! The excerpt of the vendor's OpenAPI description: which operation a request is, whether its query and body are what
//! the operation takes, and answers made whole and checked against it.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// The excerpt.
static API: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../vendor/github/openapi.json");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("the excerpt of OpenAPI: {error}"))
});

/// One operation of the description.
#[derive(Debug)]
pub(super) struct Operation {
    /// Its method and path as the description writes them: `GET /repos/{owner}/{repo}`.
    pub(super) name: String,
    /// What stands for the path's variables, in order.
    pub(super) path: Vec<String>,
    of: &'static Value,
}

impl Operation {
    /// The operation of a request.
    pub(super) fn find(method: &str, path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        // A path without a variable goes before one with it, as the routes of the vendor do.
        let mut found: Vec<(usize, Self)> = API["paths"]
            .as_object()?
            .iter()
            .filter_map(|(template, methods)| {
                let of = methods.get(method.to_lowercase())?;
                let template_parts: Vec<&str> = template.split('/').collect();
                let path = matched(&template_parts, &parts)?;
                Some((path.len(), Self { name: format!("{method} {template}"), path, of }))
            })
            .collect();
        found.sort_by_key(|(variables, _)| *variables);
        found.into_iter().next().map(|(_, operation)| operation)
    }

    /// What is wrong with the query.
    pub(super) fn check_query(&self, query: &[(String, String)]) -> Result<(), String> {
        let parameters = self.of["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (name, text) in query {
            let known = parameters.iter().find(|p| p["in"] == "query" && p["name"] == **name);
            let schema =
                &known.ok_or_else(|| format!("{}: no parameter {name}", self.name))?["schema"];
            let value = match resolved(schema)["type"].as_str() {
                Some("integer") => text.parse::<i64>().map_or(json!(text), Value::from),
                Some("boolean") => text.parse::<bool>().map_or(json!(text), Value::from),
                _ => json!(text),
            };
            check(schema, &value, true).map_err(|why| format!("{}: {name}: {why}", self.name))?;
        }
        Ok(())
    }

    /// What is wrong with the body.
    pub(super) fn check_body(&self, body: Option<&Value>) -> Result<(), String> {
        let description = &self.of["requestBody"];
        let schema = &description["content"]["application/json"]["schema"];
        match body {
            None if description["required"] == true => Err(format!("{}: needs a body", self.name)),
            None => Ok(()),
            Some(_) if schema.is_null() => Err(format!("{}: takes no body", self.name)),
            Some(body) => check(schema, body, true).map_err(|why| format!("{}: {why}", self.name)),
        }
    }

    /// The answer with everything that the description requires, or what is wrong with it.
    pub(super) fn answer(&self, status: u16, value: Value) -> Result<Value, String> {
        let schema = self.of["responses"].get(status.to_string());
        let schema =
            schema.ok_or_else(|| format!("{}: {status} is none of its answers", self.name))?;
        if schema.is_null() {
            return Ok(value);
        }
        let whole = complete(schema, Some(value));
        check(schema, &whole, true).map_err(|why| format!("{}: the answer: {why}", self.name))?;
        Ok(whole)
    }
}

/// What stands for the variables of a template; `{ref}` and `{branch}` may have slashes.
fn matched(template: &[&str], path: &[&str]) -> Option<Vec<String>> {
    let (Some((first, template)), Some((part, rest))) =
        (template.split_first(), path.split_first())
    else {
        return (template.is_empty() && path.is_empty()).then(Vec::new);
    };
    if !first.starts_with('{') {
        return (first == part).then(|| matched(template, rest)).flatten();
    }
    if part.is_empty() {
        return None;
    }
    let longest = if matches!(*first, "{ref}" | "{branch}") { path.len() } else { 1 };
    (1..=longest).find_map(|length| {
        let mut variables = vec![decoded(&path[..length].join("/"))];
        variables.extend(matched(template, &path[length..])?);
        Some(variables)
    })
}

fn decoded(text: &str) -> String {
    let plus = text.replace('+', "%2B");
    let mut pairs = url::form_urlencoded::parse(plus.as_bytes());
    pairs.next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

fn resolved(schema: &'static Value) -> &'static Value {
    match schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        Some(name) => &API["schemas"][name],
        None => schema,
    }
}

fn alternatives(schema: &'static Value) -> Option<&'static Vec<Value>> {
    schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array())
}

/// Fills in what a schema requires and was not given.
fn complete(schema: &'static Value, value: Option<Value>) -> Value {
    let schema = resolved(schema);
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().fold(value.unwrap_or(Value::Null), |value, part| {
            complete(part, Some(value).filter(|value| !value.is_null()))
        });
    }
    if let Some(of) = alternatives(schema) {
        if schema["nullable"] == true && value.as_ref().is_none_or(Value::is_null) {
            return Value::Null;
        }
        let mut whole = of.iter().map(|one| (one, complete(one, value.clone())));
        let fits = whole.find(|(one, whole)| check(one, whole, true).is_ok());
        return fits.map_or_else(|| value.unwrap_or(Value::Null), |(_, whole)| whole);
    }
    let Some(value) = value else { return minimal(schema) };
    match value {
        Value::Object(mut given) => {
            let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if given.contains_key(name) || required.iter().any(|r| r == name.as_str()) {
                    let whole = complete(property, given.remove(name));
                    given.insert(name.clone(), whole);
                }
            }
            Value::Object(given)
        }
        Value::Array(items) if schema["items"].is_object() => {
            items.into_iter().map(|item| complete(&schema["items"], Some(item))).collect()
        }
        value => value,
    }
}

/// The least that a schema lets be said.
fn minimal(schema: &'static Value) -> Value {
    if schema["nullable"] == true {
        return Value::Null;
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("uri")) => json!("https://github.invalid/"),
        (Some("string"), Some("date-time")) => json!("2026-01-01T00:00:00Z"),
        (Some("string"), _) => json!("-"),
        (Some("integer" | "number"), _) => schema["minimum"].as_i64().map_or(json!(0), Value::from),
        (Some("boolean"), _) => json!(false),
        (Some("array"), _) => json!([]),
        _ => complete(schema, Some(Value::Object(Map::new()))),
    }
}

/// What of a value is not as the schema says. `closed`: a property that the schema does not name is wrong.
fn check(schema: &'static Value, value: &Value, closed: bool) -> Result<(), String> {
    let schema = resolved(schema);
    if value.is_null() && schema["nullable"] == true {
        return Ok(());
    }
    if let Some(parts) = schema["allOf"].as_array() {
        // Each part knows a part of the properties.
        return parts.iter().try_for_each(|part| check(part, value, false));
    }
    if let Some(of) = alternatives(schema) {
        let mut reasons = Vec::new();
        for one in of {
            match check(one, value, closed) {
                Ok(()) => return Ok(()),
                Err(why) => reasons.push(why),
            }
        }
        return Err(format!("none of its alternatives: {}", reasons.join("; ")));
    }
    if schema["enum"].as_array().is_some_and(|of| !of.contains(value)) {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    let fits = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    if !fits {
        return Err(format!("{value} is no {}", schema["type"]));
    }
    match value {
        Value::String(text) => text_fits(schema, text)?,
        Value::Number(number) => {
            let beyond = |bound: &Value, over: fn(f64, f64) -> bool| {
                bound.as_f64().zip(number.as_f64()).is_some_and(|(bound, value)| over(value, bound))
            };
            if beyond(&schema["minimum"], |value, bound| value < bound)
                || beyond(&schema["maximum"], |value, bound| value > bound)
            {
                return Err(format!("{value} is out of range"));
            }
        }
        Value::Array(items) => {
            if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least)
                || schema["maxItems"].as_u64().is_some_and(|most| items.len() as u64 > most)
            {
                return Err(format!("{} items", items.len()));
            }
            if !schema["items"].is_object() {
                return Ok(());
            }
            for (at, item) in items.iter().enumerate() {
                check(&schema["items"], item, closed).map_err(|why| format!("[{at}]: {why}"))?;
            }
        }
        Value::Object(given) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                if !name.as_str().is_some_and(|name| given.contains_key(name)) {
                    return Err(format!("{name} is missing"));
                }
            }
            let known = schema["properties"].as_object();
            let more = &schema["additionalProperties"];
            for (name, value) in given {
                let below = match known.and_then(|known| known.get(name)) {
                    Some(property) => check(property, value, closed),
                    None if more.is_object() => check(more, value, closed),
                    None if closed && known.is_some() && *more != true => Err("unknown".to_owned()),
                    None => Ok(()),
                };
                below.map_err(|why| format!("{name}: {why}"))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn text_fits(schema: &Value, text: &str) -> Result<(), String> {
    let length = text.chars().count() as u64;
    if schema["minLength"].as_u64().is_some_and(|least| length < least)
        || schema["maxLength"].as_u64().is_some_and(|most| length > most)
    {
        return Err(format!("a text of {length} characters"));
    }
    let wrong = match schema["format"].as_str() {
        Some("date-time") => text.parse::<jiff::Timestamp>().is_err(),
        Some("uri") => url::Url::parse(text).is_err(),
        _ => false,
    };
    if wrong { Err(format!("{text:?} is no {}", schema["format"])) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`check`] reads; anything else in the excerpt would pass unchecked.
    const KNOWN: [&str; 18] = [
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "enum",
        "format",
        "items",
        "maxLength",
        "maximum",
        "minLength",
        "minimum",
        "nullable",
        "oneOf",
        "properties",
        "required",
        "type",
        "maxItems",
        "minItems",
    ];

    #[test]
    fn no_word_of_the_excerpt_is_overlooked() {
        fn walk(schema: &Value, at: &str) {
            for (word, below) in schema.as_object().into_iter().flatten() {
                assert!(KNOWN.contains(&word.as_str()), "{at}: {word}");
                match word.as_str() {
                    "properties" => {
                        for (name, below) in below.as_object().unwrap() {
                            walk(below, &format!("{at}.{name}"));
                        }
                    }
                    "allOf" | "anyOf" | "oneOf" => {
                        below.as_array().unwrap().iter().for_each(|below| walk(below, at));
                    }
                    _ => walk(below, at),
                }
            }
        }
        for (name, schema) in API["schemas"].as_object().unwrap() {
            walk(schema, name);
        }
        for (path, methods) in API["paths"].as_object().unwrap() {
            for operation in methods.as_object().unwrap().values() {
                walk(&operation["requestBody"]["content"]["application/json"]["schema"], path);
            }
        }
    }

    #[test]
    fn requests_are_held_to_the_description() {
        let find = |method, path| Operation::find(method, path);
        assert!(find("GET", "/repos/acme/app/nowhere").is_none());
        assert!(find("PUT", "/repos/acme/app/pulls/1").is_none());
        let at = find("GET", "/repos/acme/app/git/ref/heads/feat/x").unwrap();
        assert_eq!(at.path, ["acme", "app", "heads/feat/x"]);
        let merge = find("PUT", "/repos/acme/app/pulls/1/merge").unwrap();
        merge.check_body(Some(&json!({"sha": "1", "merge_method": "squash"}))).unwrap();
        merge.check_body(Some(&json!({"merge_method": "SQUASH"}))).unwrap_err();
        merge.check_body(Some(&json!({"expected": "1"}))).unwrap_err();
        let list = find("GET", "/repos/acme/app/pulls").unwrap();
        let query = |name: &str, value: &str| list.check_query(&[(name.into(), value.into())]);
        query("state", "all").unwrap();
        query("state", "merged").unwrap_err();
        query("per_page", "many").unwrap_err();
        query("author", "ana").unwrap_err();
    }
}
