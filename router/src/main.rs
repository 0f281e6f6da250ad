//! `rondo-router`: serves the graphs of one plan until it is told to end, and then answers what it has begun.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use rondo_router::router::Router;
use rondo_router::telemetry::Telemetry;
use rondo_router::upstream::Upstream;
use rondo_router::workers::Workers;
use rondo_router::{admin, source};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Threads at most, unless told otherwise: more replicas are better than more threads, and each thread has memory of its own.
const MAX_THREADS: usize = 4;

/// Answers requests to graphs of models.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The plan, as a file.
    #[arg(long, value_name = "FILE", conflicts_with = "plan_configmap", required_unless_present = "plan_configmap")]
    plan: Option<PathBuf>,
    /// The plan, as the key plan.json of a ConfigMap.
    #[arg(long, value_name = "NAME", requires = "namespace")]
    plan_configmap: Option<String>,
    /// Namespace of the ConfigMap.
    #[arg(long, env = "RONDO_NAMESPACE")]
    namespace: Option<String>,
    /// Port for health, metrics and the revision that is served.
    #[arg(long, default_value_t = 9900)]
    admin_port: u16,
    /// Folder of the credentials for targets.
    #[arg(long, default_value = "/etc/rondo/credentials")]
    credentials: PathBuf,
    /// Threads that answer requests; one a processor, but at most 4, if it is not given.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Seconds in which the router is not ready and tells its clients to go, but still takes connections, once it is told to
    /// end.
    #[arg(long, default_value_t = 5)]
    linger: u64,
    /// Seconds that requests under way have to end after that.
    #[arg(long, default_value_t = 30)]
    drain: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("RONDO_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "a TLS provider is installed already")?;
    let threads = arguments.threads.map_or_else(threads_of_machine, NonZeroUsize::get);
    let workers = Workers::start(threads)?;
    // All else is little: plans, health, metrics and traces.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(run(arguments, workers))
}

fn threads_of_machine() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_THREADS)
}

async fn run(arguments: Arguments, workers: Arc<Workers>) -> Result<(), Box<dyn std::error::Error>> {
    let upstream = Arc::new(Upstream::new(arguments.credentials.clone()));
    let telemetry = Telemetry::from_environment(&upstream)?;
    let router = Router::new(upstream, telemetry, workers);
    tokio::spawn(follow_credentials(Arc::clone(&router)));
    let (drain, draining) = watch::channel(false);
    let listener = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, arguments.admin_port))).await?;
    let served = tokio::spawn(admin::serve(listener, Arc::clone(&router), draining));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ended = tokio::select! {
        result = follow(&arguments, Arc::clone(&router)) => result,
        result = served => result?.map_err(Into::into),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    drain.send_replace(true);
    router.leave();
    // Kubernetes takes a while to send no more connections to a pod that ends.
    tokio::time::sleep(Duration::from_secs(arguments.linger)).await;
    router.drain(Duration::from_secs(arguments.drain)).await;
    if let Some(telemetry) = &router.tools.telemetry {
        // It waits for its own thread, which needs this runtime.
        tokio::task::block_in_place(|| telemetry.end());
    }
    ended
}

/// A router by hand may have no folder of credentials.
async fn follow_credentials(router: Arc<Router>) {
    if let Err(error) = source::follow_credentials(router).await {
        tracing::warn!("changes of credentials are not seen at once: {error}");
    }
}

async fn follow(arguments: &Arguments, router: Arc<Router>) -> Result<(), Box<dyn std::error::Error>> {
    match (&arguments.plan, &arguments.plan_configmap, &arguments.namespace) {
        (Some(path), ..) => source::follow_file(router, path.clone()).await?,
        (None, Some(name), Some(namespace)) => source::follow_config_map(router, namespace, name).await?,
        _ => return Err("give --plan, or --plan-configmap and --namespace".into()),
    }
    Ok(())
}
