//! The running router: what it serves now, how another plan takes its place, and how it ends.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv6Addr, SocketAddr, TcpStream as Socket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, watch};

use crate::call::Tools;
use crate::compile::compile;
use crate::connection::Stage;
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

/// A port that is open: it tells its stage to whoever takes connections and to each of these, for as long as they are there.
type Port = watch::Sender<Stage>;

/// Closes a port, and waits until what was asked there is answered.
async fn close(port: Port) {
    port.send_replace(Stage::Closed);
    port.closed().await;
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
        for (number, listener) in opened {
            let port = Port::default();
            tokio::spawn(accept(Arc::clone(self), number, listener, port.subscribe()));
            ports.insert(number, port);
        }
    }

    /// Closes ports that nothing is served on; requests under way there are answered.
    fn close_unused(&self, served: &Served) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, port) in ports.extract_if(|number, _| !served.by_port.contains_key(number)) {
            tokio::spawn(close(port));
        }
    }

    /// Has clients go elsewhere: each connection ends with its next answer. New ones are still taken.
    pub fn leave(&self) {
        for port in self.ports.lock().unwrap_or_else(PoisonError::into_inner).values() {
            port.send_replace(Stage::Leaving);
        }
    }

    /// Takes no more connections and waits until all requests are answered, at most so long.
    pub async fn drain(&self, limit: Duration) {
        let ports: Vec<Port> =
            self.ports.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, port)| port).collect();
        let all = futures_util::future::join_all(ports.into_iter().map(close));
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("some requests were not answered within {limit:?}");
        }
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

/// Takes connections until the port is closed.
async fn accept(router: Arc<Router>, port: u16, listener: TcpListener, mut stages: watch::Receiver<Stage>) {
    let of = stages.clone();
    let take = |client: std::io::Result<Socket>| match client {
        Ok(client) => {
            let (router, stages) = (Arc::clone(&router), of.clone());
            let workers = Arc::clone(&router.workers);
            workers.take(client, move |stream| server::serve(router, port, stream, stages));
        }
        Err(error) => tracing::warn!(port, "a connection could not be taken: {error}"),
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stages.wait_for(|stage| *stage == Stage::Closed) => break,
        };
        match accepted {
            Ok((stream, _)) => take(stream.into_std()),
            Err(error) => {
                tracing::warn!(port, "no connection could be taken: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Clients that are connected by now, as they see it, may have sent a request.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((client, _)) = listener.accept() {
        take(client.set_nonblocking(true).map(|()| client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn who_has_connected_before_a_port_is_closed_is_answered() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let router = Router::new(Arc::new(Upstream::new("/nowhere".into())), None, Workers::here());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut clients = Vec::new();
        for _ in 0..16 {
            let mut client = tokio::net::TcpStream::connect(address).await.expect("open");
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
            clients.push(client);
        }
        let port = Port::default();
        let accepting = tokio::spawn(accept(router, address.port(), listener, port.subscribe()));
        close(port).await;
        accepting.await.expect("ended");
        for mut client in clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("answered");
            assert!(answer.contains("connection: close") && answer.contains("no graph is served here"), "{answer}");
        }
    }
}
