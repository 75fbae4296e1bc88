//! The web API: each route asks the module `query` and answers with JSON. One table both serves and describes them.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Query as UrlQuery, Request, State};
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entity_tag;
use super::openapi::{self, Described};
use super::refused::Refused;
use crate::query::Query;
use crate::query::answers::{Candles, Forecasts, Hours, Instruments, Models, Prices, Quality};
use crate::query::error::{ErrorCode, QueryError};
use crate::query::questions::{
    CandlesQuestion, ForecastsQuestion, InstrumentQuestion, InstrumentsQuestion, ModelsQuestion, PricesQuestion,
};
use crate::query::rows::PipelineRow;

/// Bytes of an answer, at most: the longest page of candles has a quarter of that.
const BYTES_MAX: usize = 8 << 20;

/// A route, as it is described and served.
type Route = (Described, MethodRouter<Arc<Query>>);

fn route<Q: JsonSchema, A: JsonSchema, T: 'static>(
    (path, example): (&'static str, &'static str),
    summary: &'static str,
    handler: impl Handler<T, Arc<Query>>,
) -> Route {
    let (question, answer) = (SchemaGenerator::subschema_for::<Q>, SchemaGenerator::subschema_for::<A>);
    (Described { path, summary, example, question, answer }, get(handler))
}

/// No parameters.
#[derive(Debug, JsonSchema)]
struct NoQuestion {}

/// Returns the routes that answer with JSON.
fn table() -> Vec<Route> {
    const OF_ONE: &str = "coin=bitcoin&quote=usdt";
    vec![
        route::<InstrumentsQuestion, Instruments, _>(
            ("/api/v1/instruments", "search=bitcoin&limit=10"),
            "Instruments with their newest price",
            instruments,
        ),
        route::<CandlesQuestion, Candles, _>(
            ("/api/v1/candles", "coin=bitcoin&quote=usdt&window=1h&limit=100"),
            "Final candles, the newest page first",
            candles,
        ),
        route::<PricesQuestion, Prices, _>(
            ("/api/v1/prices", "coin=bitcoin&quote=usdt&limit=10"),
            "Accepted prices, the newest page first",
            prices,
        ),
        route::<InstrumentQuestion, Hours, _>(
            ("/api/v1/hours", OF_ONE),
            "The hour-of-day profile: mean, minimum and maximum of each UTC hour over all days",
            hours,
        ),
        route::<ForecastsQuestion, Forecasts, _>(
            ("/api/v1/forecasts", "coin=bitcoin&quote=usdt&recipe=returns"),
            "Pending forecasts, and scored ones, the newest page first",
            forecasts,
        ),
        route::<ModelsQuestion, Models, _>(
            ("/api/v1/models", OF_ONE),
            "Decisions about models, and their figures on scored forecasts",
            models,
        ),
        route::<InstrumentQuestion, Quality, _>(
            ("/api/v1/quality", OF_ONE),
            "Data quality: counts of the pipeline, gaps and coverage of an instrument",
            quality,
        ),
        route::<NoQuestion, PipelineRow, _>(
            ("/api/v1/pipeline", ""),
            "State of the pipeline: source, rate, steps, credits",
            pipeline,
        ),
    ]
}

/// Returns the router of the API.
pub(super) fn routes(query: Arc<Query>) -> Router {
    let (described, served): (Vec<Described>, Vec<_>) = table().into_iter().unzip();
    let document = Bytes::from(openapi::document(&described).to_string());
    let description = move || async move { ([(CONTENT_TYPE, "application/json")], document) };
    let routed =
        described.iter().zip(served).fold(Router::new(), |router, (route, handler)| router.route(route.path, handler));
    routed
        .route("/api/openapi.json", get(description))
        .route("/api/{*path}", get(nothing))
        .layer(from_fn(with_etag))
        .with_state(query)
}

/// A question from the query of a URL.
struct Asked<Q>(Q);

impl<Q: DeserializeOwned, S: Sync> FromRequestParts<S> for Asked<Q> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let asked = UrlQuery::<Q>::try_from_uri(&parts.uri);
        asked.map(|UrlQuery(question)| Self(question)).map_err(|error| {
            Refused(QueryError::bad_request(format!(
                "{}; /api/openapi.json describes the parameters",
                error.body_text()
            )))
        })
    }
}

type Answer<T> = Result<Json<T>, Refused>;

fn answer<T: Serialize>(answered: Result<T, QueryError>) -> Answer<T> {
    answered.map(Json).map_err(Refused)
}

type Asking = State<Arc<Query>>;

async fn instruments(State(query): Asking, Asked(question): Asked<InstrumentsQuestion>) -> Answer<Instruments> {
    answer(query.instruments(&question))
}

async fn candles(State(query): Asking, Asked(question): Asked<CandlesQuestion>) -> Answer<Candles> {
    answer(query.candles(&question).await)
}

async fn prices(State(query): Asking, Asked(question): Asked<PricesQuestion>) -> Answer<Prices> {
    answer(query.prices(&question).await)
}

async fn hours(State(query): Asking, Asked(question): Asked<InstrumentQuestion>) -> Answer<Hours> {
    answer(query.hours(&question))
}

async fn forecasts(State(query): Asking, Asked(question): Asked<ForecastsQuestion>) -> Answer<Forecasts> {
    answer(query.forecasts(&question).await)
}

async fn models(State(query): Asking, Asked(question): Asked<ModelsQuestion>) -> Answer<Models> {
    answer(query.models(&question).await)
}

async fn quality(State(query): Asking, Asked(question): Asked<InstrumentQuestion>) -> Answer<Quality> {
    answer(query.quality(&question).await)
}

async fn pipeline(State(query): Asking) -> Json<PipelineRow> {
    Json(query.pipeline())
}

async fn nothing() -> Refused {
    Refused(QueryError::new(ErrorCode::NotFound, "there is no such route: /api/openapi.json lists them"))
}

/// Marks an answer with a hash of its body, and leaves the body out if the client has it.
async fn with_etag(request: Request, next: Next) -> Response {
    let known = request.headers().clone();
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, BYTES_MAX).await else {
        return Refused(QueryError::new(ErrorCode::TooLarge, "the answer is too long: ask for fewer rows"))
            .into_response();
    };
    let tag = entity_tag::of(&body);
    parts.headers.insert(ETAG, tag.clone());
    if entity_tag::is_known(&known, &tag) {
        parts.status = StatusCode::NOT_MODIFIED;
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(body))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn asked<Q: DeserializeOwned>(query: &str) -> Result<Q, String> {
        let uri = format!("/x?{query}").parse().expect("a URI");
        UrlQuery::try_from_uri(&uri).map(|UrlQuery(question)| question).map_err(|error| error.body_text())
    }

    #[test]
    fn a_mistake_in_the_parameters_is_named() {
        let check = |query: &str, said: &str| {
            let error = asked::<CandlesQuestion>(query).expect_err(query);
            assert!(error.contains(said), "{query}: {error}");
        };
        check("coin=bitcoin&quote=usd", "window");
        check("coin=bitcoin&quote=usd&window=2h", "2h");
        check("coin=bitcoin&quote=usd&window=1h&from_ms=soon", "from_ms");
        check("coin=bitcoin&quote=usd&window=1h&form_ms=1", "form_ms");
        check("coin=bitcoin&quote=usd&window=1h&limit=-1", "limit");
        let question: ForecastsQuestion = asked("coin=bitcoin&quote=usd&recipe=returns").expect("a question");
        assert_eq!(question.recipe, Some(market::Recipe::Returns));
        assert!(asked::<ForecastsQuestion>("coin=bitcoin&quote=usd").expect("a question").recipe.is_none());
    }

    fn document() -> Value {
        let (described, _): (Vec<Described>, Vec<_>) = table().into_iter().unzip();
        openapi::document(&described)
    }

    fn find<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, field)| {
                if name == key {
                    found.push(field);
                }
                find(field, key, found);
            }),
            Value::Array(items) => items.iter().for_each(|item| find(item, key, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document();
        let mut references = Vec::new();
        find(&document, "$ref", &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer =
                reference.as_str().and_then(|reference| reference.strip_prefix('#')).expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let mut found = Vec::new();
        find(&document, "$schema", &mut found);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn parameters_have_words_a_type_and_the_value_of_the_example() {
        let document = document();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for parameter in item["get"]["parameters"].as_array().expect("parameters") {
                let is_described = parameter["description"].as_str().is_some_and(|words| !words.is_empty());
                assert!(is_described && parameter["schema"]["type"].is_string(), "{path} {parameter}");
                let is_shown = parameter["required"] == false || !parameter["example"].is_null();
                assert!(is_shown, "{path} {parameter}");
            }
        }
        let of_candles = &document["paths"]["/api/v1/candles"]["get"]["parameters"];
        let window = of_candles.as_array().expect("parameters").iter().find(|parameter| parameter["name"] == "window");
        assert_eq!(window.expect("window")["schema"]["enum"][5], "1h-30m");
    }

    #[test]
    fn fields_that_may_be_absent_are_not_required() {
        let document = document();
        let candle = &document["components"]["schemas"]["CandleRow"];
        let required = candle["required"].as_array().expect("required fields");
        assert!(required.contains(&"open".into()) && !required.contains(&"volume".into()), "{candle}");
        let price = &document["components"]["schemas"]["PriceRow"]["required"];
        assert!(!price.as_array().expect("required fields").contains(&"filled".into()), "{price}");
    }
}
