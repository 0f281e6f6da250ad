//! The admin port: health, metrics, and which revision is served.

use std::sync::Arc;

use axum::Router as Routes;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::router::Router;

/// What the admin port needs.
#[derive(Clone)]
struct Admin {
    router: Arc<Router>,
    draining: watch::Receiver<bool>,
}

/// Serves the admin port until the process ends.
///
/// # Errors
/// The port cannot be served.
pub async fn serve(listener: TcpListener, router: Arc<Router>, draining: watch::Receiver<bool>) -> std::io::Result<()> {
    let paths = Routes::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/watch", get(changes))
        .with_state(Admin { router, draining });
    axum::serve(listener, paths).await
}

/// Ready with a plan, until the process is told to end.
async fn ready(State(admin): State<Admin>) -> Response {
    if *admin.draining.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    if admin.router.reports().borrow().revision.is_empty() {
        return (StatusCode::SERVICE_UNAVAILABLE, "no plan yet\n").into_response();
    }
    "ok\n".into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, TYPE)], admin.router.tools.metrics.text()).into_response()
}

async fn status(State(admin): State<Admin>) -> Response {
    axum::Json(admin.router.reports().borrow().clone()).into_response()
}

/// Gives the report as a line of JSON, at once and whenever it changes, and the counts of releases as others.
async fn changes(State(admin): State<Admin>) -> Response {
    let (mut reports, mut counts) = (admin.router.reports(), admin.router.counts());
    reports.mark_changed();
    if !counts.borrow().counts.is_empty() {
        counts.mark_changed();
    }
    let lines = stream::unfold((reports, counts), |(mut reports, mut counts)| async move {
        let line = tokio::select! {
            biased;
            changed = reports.changed() => {
                changed.ok()?;
                line_of(&*reports.borrow_and_update())
            }
            changed = counts.changed() => {
                changed.ok()?;
                line_of(&*counts.borrow_and_update())
            }
        };
        Some((line, (reports, counts)))
    });
    let body = Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn line_of<T: serde::Serialize>(told: &T) -> String {
    // What is told is plain data, so writing it does not fail.
    serde_json::to_string(told).unwrap_or_default() + "\n"
}
