//! Traces by OpenTelemetry, if the standard variables name a collector: a span a request and one a node.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._TRACES_ENDPOINT`) turns it on, `OTEL_TRACES_SAMPLER` says how much is taken.
//! Without them a request costs nothing for it, and its trace context is passed on as it came.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Limited};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector, HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use crate::message::Stream;
use crate::upstream::Upstream;

/// Bytes of a collector's answer that are read.
const ANSWER_LIMIT: usize = 64 << 10;

/// For so long a collector may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes spans and sends them away, some at a time.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A span that is open, and the context for what it contains.
#[derive(Debug, Clone)]
pub struct Opened(Context);

impl Telemetry {
    /// Sets up what the environment asks for; nothing if it names no collector.
    ///
    /// # Errors
    /// The collector's address is none.
    pub fn from_environment(upstream: &Arc<Upstream>) -> Result<Option<Self>, ExporterBuildError> {
        let named = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        if !named.iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty())) {
            return Ok(None);
        }
        let client = Exporting { upstream: Arc::clone(upstream), runtime: Handle::current() };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build()?;
        let resource = Resource::builder().with_service_name("rondo-router").build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer("rondo-router");
        Ok(Some(Self { provider, tracer }))
    }

    /// Opens the span of a request, below that of its client if it has one.
    pub fn request(&self, name: String, headers: &HeaderMap) -> Opened {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        self.open(name, SpanKind::Server, &parent)
    }

    /// Opens the span of a node below another.
    pub fn node(&self, name: String, below: &Opened) -> Opened {
        self.open(name, SpanKind::Client, &below.0)
    }

    fn open(&self, name: String, kind: SpanKind, parent: &Context) -> Opened {
        let span = self.tracer.span_builder(name).with_kind(kind).start_with_context(&self.tracer, parent);
        Opened(parent.with_span(span))
    }

    /// Sends what has not been sent yet.
    pub fn end(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!("some traces were not sent: {error}");
        }
    }
}

impl Opened {
    /// Writes the trace context for a target.
    pub fn write(&self, into: &mut HeaderMap) {
        TraceContextPropagator::new().inject_context(&self.0, &mut HeaderInjector(into));
    }

    /// Closes it with the status of an answer.
    pub fn answered(&self, status: u16) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            span.set_status(Status::error(format!("status {status}")));
        }
        span.end();
    }

    /// Closes it with a failure.
    pub fn failed(&self, word: &'static str, message: &str) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("error.type", word));
        span.set_status(Status::error(message.to_owned()));
        span.end();
    }
}

/// Sends traces with the router's own client, from the thread of the batches.
#[derive(Clone)]
struct Exporting {
    upstream: Arc<Upstream>,
    runtime: Handle,
}

impl std::fmt::Debug for Exporting {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Exporting")
    }
}

#[async_trait]
impl HttpClient for Exporting {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let upstream = Arc::clone(&self.upstream);
        let sending = self.runtime.spawn(async move {
            let request = request.map(Stream::whole);
            let (parts, body) = upstream.send(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(parts, body))
        });
        let stop = sending.abort_handle();
        let limit = self.runtime.spawn(async move {
            tokio::time::sleep(EXPORT_TIMEOUT).await;
            stop.abort();
        });
        let answer = sending.await;
        limit.abort();
        answer?
    }
}
