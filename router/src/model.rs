//! A model behind the router: requests go as they are to one of its revisions, by weight, and wait for a first pod.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, RETRY_AFTER};
use http::uri::{InvalidUri, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::call::Tools;
use crate::exchange::{Coming, Origin};
use crate::headers::is_of_connection;
use crate::message::{Stream, Taken, take};
use crate::metrics::{Metrics, OfGraph, OfRevision, OfRevisionOnly};
use crate::nodes::target::with_causes;
use crate::plan::{HoldPlan, ModelPlan, RevisionPlan};
use crate::upstream::Address;

/// A request of at most so many bytes can be held: it has to be sent again once there is a pod.
const HELD_BYTES: usize = 4 << 20;

/// Between two tries to reach a first pod.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// A model.
#[derive(Debug)]
pub struct Model {
    pub name: Arc<str>,
    pub revisions: Vec<Revision>,
    total: u32,
    hold: Option<HoldPlan>,
    held: Gauge,
    pub demand: Arc<Demand>,
}

/// Requests that wait for a first pod.
#[derive(Debug, Default)]
pub struct Demand {
    waiting: AtomicUsize,
    news: Arc<Notify>,
}

impl Demand {
    /// Nothing waits; whoever follows `news` is told when that changes.
    pub fn new(news: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { waiting: AtomicUsize::new(0), news: Arc::clone(news) })
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

/// A revision of a model.
#[derive(Debug)]
pub struct Revision {
    name: Arc<str>,
    address: Address,
    weight: u32,
    seconds: Histogram,
}

impl Model {
    /// Makes a model ready.
    ///
    /// # Arguments
    /// * `demand` - who waits; the same as before if the model was there before.
    ///
    /// # Errors
    /// An address is none, or the weights add up to nothing.
    pub fn of(plan: &ModelPlan, demand: Arc<Demand>, metrics: &Metrics) -> Result<Self, String> {
        let name: Arc<str> = plan.name.as_str().into();
        let revisions =
            plan.revisions.iter().map(|of| Revision::of(&name, of, metrics)).collect::<Result<Vec<_>, _>>()?;
        let total = revisions.iter().try_fold(0_u32, |sum, of| sum.checked_add(of.weight));
        let total = total.filter(|&total| total > 0).ok_or("the weights of its revisions add up to nothing")?;
        let held = metrics.held.get_or_create_owned(&OfGraph { graph: Arc::clone(&name) });
        Ok(Self { name, revisions, total, hold: plan.hold.clone(), held, demand })
    }

    fn choose(&self) -> &Revision {
        let point = rand::random_range(0..self.total);
        let mut end = 0;
        let chosen = self.revisions.iter().find(|revision| {
            end += revision.weight;
            point < end
        });
        chosen.unwrap_or(&self.revisions[0])
    }
}

impl Revision {
    fn of(model: &Arc<str>, plan: &RevisionPlan, metrics: &Metrics) -> Result<Self, String> {
        let address = Address::of(&plan.url, None)?;
        let name: Arc<str> = plan.name.as_str().into();
        let labels = OfRevisionOnly { model: Arc::clone(model), revision: Arc::clone(&name) };
        let seconds = metrics.revision_seconds.get_or_create_owned(&labels);
        Ok(Self { name, address, weight: plan.weight, seconds })
    }

    /// The path of a request, which is passed on with what stands before it.
    fn uri(&self, asked: &Uri) -> Result<Uri, InvalidUri> {
        let path = asked.path_and_query().map_or("/", PathAndQuery::as_str);
        PathAndQuery::try_from(format!("{}{path}", self.address.base)).map(Uri::from)
    }
}

/// Passes a request on and its answer back.
pub async fn answer(model: &Model, tools: &Tools, request: Request<Incoming>) -> Response<Stream> {
    let revision = model.choose();
    let begun = Instant::now();
    let response = match forward(model, revision, tools, request).await {
        Ok(response) => response,
        Err(refusal) => refusal,
    };
    let labels = OfRevision {
        model: Arc::clone(&model.name),
        revision: Arc::clone(&revision.name),
        code: response.status().as_u16(),
    };
    tools.metrics.revision_requests.get_or_create(&labels).inc();
    revision.seconds.observe(begun.elapsed().as_secs_f64());
    response
}

async fn forward(
    model: &Model,
    revision: &Revision,
    tools: &Tools,
    request: Request<Incoming>,
) -> Result<Response<Stream>, Response<Stream>> {
    let (mut parts, body) = request.into_parts();
    let uri = revision.uri(&parts.uri).map_err(|error| told(StatusCode::BAD_REQUEST, &error.to_string()))?;
    let origin = revision.address.origin(&tools.upstream);
    clean(&mut parts.headers);
    parts.version = Version::HTTP_11; // Models are asked by it, whatever the client speaks.
    let response = match &model.hold {
        // Whether one of unknown size can be held is known when it has come.
        Some(hold) if body.size_hint().lower() <= HELD_BYTES as u64 => {
            match take(body, HELD_BYTES).await.map_err(|error| told(StatusCode::BAD_REQUEST, &error.to_string()))? {
                Taken::Whole(bytes) => held(model, hold, origin, &parts, &uri, bytes).await?,
                Taken::Coming(stream) => passed(origin, parts, uri, stream).await?,
            }
        }
        _ => passed(origin, parts, uri, Stream::new(body)).await?,
    };
    let (mut parts, body) = response.into_parts();
    clean(&mut parts.headers);
    Ok(Response::from_parts(parts, Stream::new(body)))
}

/// Sends a request as it comes.
async fn passed(
    origin: &Arc<Origin>,
    parts: http::request::Parts,
    uri: Uri,
    body: Stream,
) -> Result<Response<Coming>, Response<Stream>> {
    let mut request = Request::from_parts(parts, body);
    *request.uri_mut() = uri;
    origin.send(request).await.map_err(|error| told(StatusCode::BAD_GATEWAY, &with_causes(&error)))
}

/// Sends a request, again and again while nobody listens, until its time is over.
async fn held(
    model: &Model,
    hold: &HoldPlan,
    origin: &Arc<Origin>,
    parts: &http::request::Parts,
    uri: &Uri,
    body: Bytes,
) -> Result<Response<Coming>, Response<Stream>> {
    let deadline = Instant::now() + Duration::from_millis(hold.timeout_millis);
    let mut place = None;
    loop {
        let mut request = Request::from_parts(parts.clone(), Stream::whole(body.clone()));
        *request.uri_mut() = uri.clone();
        let error = match origin.send(request).await {
            Ok(response) => return Ok(response),
            Err(error) if error.is_connect() => error,
            Err(error) => return Err(told(StatusCode::BAD_GATEWAY, &with_causes(&error))),
        };
        if place.is_none() {
            place = Some(Waiting::join(model, hold).ok_or_else(|| overfull(hold))?);
        }
        if timeout_at(deadline, sleep(TRY_AGAIN)).await.is_err() {
            let words =
                format!("no pod of {} came within {} ms: {}", model.name, hold.timeout_millis, with_causes(&error));
            return Err(told(StatusCode::GATEWAY_TIMEOUT, &words));
        }
    }
}

/// A request that waits for a first pod.
struct Waiting<'a>(&'a Model);

impl<'a> Waiting<'a> {
    fn join(model: &'a Model, hold: &HoldPlan) -> Option<Self> {
        let more = |waiting| (waiting < hold.max).then_some(waiting + 1);
        model.demand.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        model.held.inc();
        model.demand.news.notify_one();
        Some(Self(model))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.demand.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.held.dec();
        self.0.demand.news.notify_one();
    }
}

fn overfull(hold: &HoldPlan) -> Response<Stream> {
    let mut response =
        told(StatusCode::SERVICE_UNAVAILABLE, &format!("{} requests wait for a first pod already", hold.max));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// Takes out what speaks of one connection, and what the connection itself lists as such.
fn clean(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    let gone: Vec<HeaderName> =
        headers.keys().filter(|name| is_of_connection(name) && **name != CONTENT_LENGTH).cloned().collect();
    for name in gone.iter().chain(&listed).filter(|name| **name != CONTENT_LENGTH) {
        headers.remove(name);
    }
    headers.remove(HOST);
}

fn told(status: StatusCode, words: &str) -> Response<Stream> {
    let body = serde_json::json!({"error": words}).to_string();
    let mut response = Response::new(Stream::whole(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
