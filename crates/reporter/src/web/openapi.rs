//! The description of the API: an OpenAPI 3.1 document, made of the table of routes and the schemas of their types.

use axum::http::StatusCode;
use schemars::Schema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::query::error::ErrorAnswer;

/// A route that answers a question with JSON.
pub(super) struct Described {
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// The query of an example.
    pub(super) example: &'static str,
    pub(super) question: fn(&mut SchemaGenerator) -> Schema,
    pub(super) answer: fn(&mut SchemaGenerator) -> Schema,
}

/// Where OpenAPI keeps schemas.
const SCHEMAS: &str = "/components/schemas";

/// Path and example of the route that answers with events instead of JSON.
const EVENTS: (&str, &str) = ("/api/v1/events", "coin=bitcoin&quote=usdt");

const DESCRIPTION: &str = "Prices, candles, forecasts and the state of the pipeline, read-only. Times are milliseconds \
since the epoch, UTC, in fields that end in `_ms`; a field without a value is absent. Pages begin with the newest rows: \
`next` of an answer, passed as `cursor`, leads to the page of older ones. An answer has an ETag; with `If-None-Match` it \
comes only if it has changed.";

/// Returns the document.
pub(super) fn document(routes: &[Described]) -> Value {
    let mut answers = SchemaSettings::draft2020_12().for_serialize().with(in_components).into_generator();
    let mut questions =
        SchemaSettings::draft2020_12().for_deserialize().with(|settings| settings.inline_subschemas = true);
    questions.meta_schema = None;
    let error = answers.subschema_for::<ErrorAnswer>();
    let mut paths = Map::new();
    for route in routes {
        let question = (route.question)(&mut questions.clone().into_generator());
        let answer = json!({ "application/json": { "schema": (route.answer)(&mut answers) } });
        let mut operation = operation(route.summary, (route.path, route.example), question.as_value());
        operation["responses"] = responses(answer, error.as_value());
        paths.insert(route.path.to_owned(), json!({ "get": operation }));
    }
    paths.insert(EVENTS.0.to_owned(), json!({ "get": events(error.as_value()) }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "candlewire",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": DESCRIPTION,
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": answers.take_definitions(true) },
    })
}

fn in_components(settings: &mut SchemaSettings) {
    settings.definitions_path = SCHEMAS.into();
    settings.meta_schema = None;
}

fn operation(summary: &str, (path, example): (&str, &str), question: &Value) -> Value {
    let url = if example.is_empty() { path.to_owned() } else { format!("{path}?{example}") };
    json!({
        "operationId": path.rsplit('/').next(),
        "summary": summary,
        "description": format!("Example: `curl 'http://127.0.0.1:8080{url}'`"),
        "parameters": parameters(question, example),
    })
}

/// Returns the fields of a question as parameters, with their values in the example.
fn parameters(question: &Value, example: &str) -> Vec<Value> {
    let required: Vec<&str> = question["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = question["properties"].as_object().into_iter().flatten();
    let parameter = |(name, field): (&String, &Value)| {
        let mut schema = field.clone();
        let description = schema.as_object_mut().and_then(|schema| {
            schema.remove("default");
            schema.remove("description")
        });
        let mut parameter = json!({ "name": name, "in": "query", "required": required.contains(&name.as_str()) });
        parameter["description"] = description.unwrap_or_default();
        if let Some(value) = example.split('&').find_map(|pair| pair.strip_prefix(name.as_str())?.strip_prefix('=')) {
            parameter["example"] = value.parse::<i64>().map_or_else(|_| value.into(), Value::from);
        }
        parameter["schema"] = not_null(schema);
        parameter
    };
    fields.map(parameter).collect()
}

/// A parameter that may be absent is never null.
fn not_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema["type"].as_array_mut() {
        kinds.retain(|kind| kind != "null");
        if let [kind] = &kinds[..] {
            schema["type"] = kind.clone();
        }
    }
    schema
}

fn responses(answer: Value, error: &Value) -> Value {
    let refused = |description: &str| json!({ "description": description, "content": { "application/json": { "schema": error } } });
    let mut responses = json!({ "200": { "description": "The answer", "content": answer } });
    let others = [
        (StatusCode::NOT_MODIFIED, json!({ "description": "The client has the answer already" })),
        (StatusCode::BAD_REQUEST, refused("The question has a mistake, or asks for too much")),
        (StatusCode::NOT_FOUND, refused("There is no such instrument yet")),
        (StatusCode::SERVICE_UNAVAILABLE, refused("Try again later: NATS is away, or the answer takes too long")),
    ];
    for (status, response) in others {
        responses[status.as_str()] = response;
    }
    responses
}

/// The stream of events. `docs/events.md` describes them.
fn events(error: &Value) -> Value {
    let text = json!({ "type": "string" });
    let question = json!({
        "properties": {
            "coin": { "type": "string", "description": "Coin; without coin and quote, events of all instruments." },
            "quote": { "type": "string", "description": "Quote currency." },
        },
    });
    let mut operation = operation("Server-sent events: a snapshot, then every change", EVENTS, &question);
    operation["responses"] = responses(json!({ "text/event-stream": { "schema": text } }), error);
    operation
}
