//! The running router: what it serves now, how another plan takes its place, and how it ends.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::call::Tools;
use crate::compile::compile;
use crate::graph::Served;
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::server;
use crate::tally::Counts;
use crate::telemetry::Telemetry;
use crate::upstream::Upstream;
use crate::workers::Workers;

/// Connections that wait to be taken.
const BACKLOG: u32 = 4096;

/// A pause after the system refused to take a connection, as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two reports of counts.
const COUNTS_PAUSE: Duration = Duration::from_secs(1);

/// What a router tells of itself: which revisions it serves, and what it had to refuse.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The plan's revision; empty before the first.
    pub revision: String,
    /// Revisions of graphs by name.
    pub graphs: BTreeMap<String, String>,
    pub refused: Option<Refusal>,
    /// Requests that wait for a first pod, by model; those that have none are left out.
    pub demand: BTreeMap<String, usize>,
    /// Credentials of targets that cannot be used, by their file, and why.
    pub unusable: BTreeMap<String, String>,
}

/// Counts by graph, of the graphs whose plan asks for them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counted {
    pub counts: BTreeMap<String, Counts>,
}

/// A plan that is not served.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    pub revision: String,
    /// The graph that is wrong; empty if it is the plan as a whole.
    pub graph: String,
    pub message: String,
}

/// A router.
pub struct Router {
    pub tools: Arc<Tools>,
    pub workers: Arc<Workers>,
    served: ArcSwap<Served>,
    plan: Mutex<Option<(Plan, Arc<Served>)>>,
    ports: Mutex<HashMap<u16, Port>>,
    report: watch::Sender<Report>,
    counts: watch::Sender<Counted>,
    demand: Arc<Notify>,
}

/// A port that is open.
struct Port {
    accepting: JoinHandle<()>,
    connections: Arc<Mutex<Option<Draining>>>,
}

/// Tells connections to end; each has a receiver for as long as it is there.
type Draining = watch::Sender<()>;

async fn end(connections: Draining) {
    connections.send_replace(());
    connections.closed().await;
}

impl Router {
    /// A router that serves nothing yet.
    pub fn new(upstream: Arc<Upstream>, telemetry: Option<Telemetry>, workers: Arc<Workers>) -> Arc<Self> {
        let router = Arc::new(Self {
            tools: Arc::new(Tools { upstream, metrics: Metrics::default(), telemetry }),
            workers,
            served: ArcSwap::default(),
            plan: Mutex::default(),
            ports: Mutex::default(),
            report: watch::Sender::default(),
            counts: watch::Sender::default(),
            demand: Arc::default(),
        });
        tokio::spawn(tell_demand(Arc::clone(&router)));
        tokio::spawn(tell_counts(Arc::clone(&router)));
        router
    }

    /// What is served now.
    pub fn served(&self) -> Arc<Served> {
        self.served.load_full()
    }

    /// What the router tells of itself, now and whenever it changes.
    pub fn reports(&self) -> watch::Receiver<Report> {
        self.report.subscribe()
    }

    /// What requests to the parts of releases came to; told at most once in `COUNTS_PAUSE`.
    pub fn counts(&self) -> watch::Receiver<Counted> {
        self.counts.subscribe()
    }

    /// Serves a plan, if all of it can be served; otherwise what was served before.
    pub fn take(self: &Arc<Self>, text: &[u8]) {
        let mut before = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(refusal) = self.replace(&mut before, text) {
            self.tools.metrics.refused.inc();
            tracing::error!(
                revision = refusal.revision,
                graph = refusal.graph,
                "the plan is refused: {}",
                refusal.message
            );
            self.report.send_modify(|report| report.refused = Some(refusal));
        }
    }

    fn replace(self: &Arc<Self>, before: &mut Option<(Plan, Arc<Served>)>, text: &[u8]) -> Result<(), Refusal> {
        let refuse = |revision: &str, graph: &str, message: String| Refusal {
            revision: revision.to_owned(),
            graph: graph.to_owned(),
            message,
        };
        let mut reader = serde_json::Deserializer::from_slice(text);
        let plan: Plan = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| refuse(&revision_of(text), "", error.to_string()))?;
        if before.as_ref().is_some_and(|(known, _)| *known == plan) {
            self.report.send_if_modified(|report| report.refused.take().is_some());
            return Ok(());
        }
        let served = compile(&plan, before.as_ref(), &self.tools.metrics, &self.demand)
            .map_err(|error| refuse(&plan.revision, &error.graph, error.message))?;
        let opened = self
            .open(&served)
            .map_err(|(port, error)| refuse(&plan.revision, "", format!("port {port} cannot be opened: {error}")))?;
        let served = Arc::new(served);
        self.served.store(Arc::clone(&served));
        self.adopt(opened);
        self.close_unused(&served);
        tracing::info!(revision = plan.revision, graphs = plan.graphs.len(), "serving");
        self.tools.metrics.reloads.inc();
        let graphs = served.graphs.iter().map(|graph| (graph.name.to_string(), graph.revision.clone())).collect();
        let (demand, unusable) = (demand_of(&served), self.unusable(&served));
        self.report.send_replace(Report { revision: plan.revision.clone(), graphs, refused: None, demand, unusable });
        *before = Some((plan, served));
        Ok(())
    }

    /// Tells which credentials cannot be used, if those are others than before.
    pub fn look_at_credentials(&self) {
        self.report.send_if_modified(|report| {
            // Of the plan that the report is about: another one takes its place before it is reported.
            let unusable = self.unusable(&self.served());
            let changed = report.unusable != unusable;
            report.unusable = unusable;
            changed
        });
    }

    fn unusable(&self, served: &Served) -> BTreeMap<String, String> {
        self.tools.upstream.credentials.unusable(served.credentials())
    }

    /// Opens the ports that are not open yet; all of them or none.
    fn open(&self, served: &Served) -> Result<Vec<(u16, TcpListener)>, (u16, std::io::Error)> {
        let open = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = served.by_port.keys().filter(|port| !open.contains_key(port));
        wanted.map(|&port| listen(port).map(|listener| (port, listener)).map_err(|error| (port, error))).collect()
    }

    fn adopt(self: &Arc<Self>, opened: Vec<(u16, TcpListener)>) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        for (port, listener) in opened {
            let connections = Arc::new(Mutex::new(Some(Draining::default())));
            let accepting = tokio::spawn(accept(Arc::clone(self), port, listener, Arc::clone(&connections)));
            ports.insert(port, Port { accepting, connections });
        }
    }

    /// Closes ports that nothing is served on; requests under way there are answered.
    fn close_unused(&self, served: &Served) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.retain(|port, open| {
            let used = served.by_port.contains_key(port);
            if !used && let Some(connections) = open.close() {
                tokio::spawn(end(connections));
            }
            used
        });
    }

    /// Takes no more connections and waits until all requests are answered, at most so long.
    pub async fn drain(&self, limit: Duration) {
        let closing: Vec<Draining> = {
            let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
            ports.drain().filter_map(|(_, mut port)| port.close()).collect()
        };
        let all = futures_util::future::join_all(closing.into_iter().map(end));
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("some requests were not answered within {limit:?}");
        }
    }
}

impl Port {
    fn close(&mut self) -> Option<Draining> {
        self.accepting.abort();
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The revision of a plan that cannot be read, if that much of it can be.
fn revision_of(text: &[u8]) -> String {
    let plan: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    plan.and_then(|plan| Some(plan.get("revision")?.as_str()?.to_owned())).unwrap_or_default()
}

/// Tells of requests that wait for a first pod, whenever that changes.
async fn tell_demand(router: Arc<Router>) {
    loop {
        router.demand.notified().await;
        let demand = demand_of(&router.served());
        router.report.send_if_modified(|report| {
            let changed = report.demand != demand;
            report.demand = demand;
            changed
        });
    }
}

/// Tells of requests to the parts of releases, while there are any.
async fn tell_counts(router: Arc<Router>) {
    loop {
        router.tools.metrics.counted.notified().await;
        let served = router.served();
        let counted = served.graphs.iter().filter_map(|graph| Some((graph.name.to_string(), graph.tally.as_ref()?)));
        let counts = counted.map(|(name, tally)| (name, tally.counts())).collect();
        router.counts.send_replace(Counted { counts });
        tokio::time::sleep(COUNTS_PAUSE).await;
    }
}

fn demand_of(served: &Served) -> BTreeMap<String, usize> {
    let all = served.models.iter().map(|model| (model.name.to_string(), model.demand.waiting()));
    all.filter(|&(_, waiting)| waiting > 0).collect()
}

/// Opens a port for IPv6 and IPv4.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let bind = |socket: TcpSocket, address| {
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    TcpSocket::new_v6().and_then(|socket| bind(socket, any)).or_else(|error| {
        if error.kind() == std::io::ErrorKind::AddrInUse {
            return Err(error);
        }
        bind(TcpSocket::new_v4()?, SocketAddr::from(([0, 0, 0, 0], port))) // a machine without IPv6
    })
}

async fn accept(router: Arc<Router>, port: u16, listener: TcpListener, connections: Arc<Mutex<Option<Draining>>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let draining =
                    connections.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Draining::subscribe);
                let Some(draining) = draining else { return };
                let of = Arc::clone(&router);
                match stream.into_std() {
                    Ok(client) => router.workers.take(client, move |stream| server::serve(of, port, stream, draining)),
                    Err(error) => tracing::warn!(port, "a connection could not be taken: {error}"),
                }
            }
            Err(error) => {
                tracing::warn!(port, "no connection could be taken: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
