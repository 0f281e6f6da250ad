//! The client for all targets: pools of connections, TLS by rustls, no redirects, no decompression.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;

use crate::calling::Pool;
use crate::credentials::Credentials;
use crate::dialer::{Dialer, Server, Version};
use crate::exchange::{Coming, Origin};
use crate::message::Stream;

/// For so long, up to a quarter more or less, a connection takes requests, so that pods that came later get theirs.
pub const AGE: Duration = Duration::from_secs(60);

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    #[error("there is no connection")]
    Connect(#[source] Arc<dyn Error + Send + Sync>),
    #[error("the connection broke")]
    Broken(#[source] Arc<hyper::Error>),
}

impl SendError {
    /// Nobody was reached.
    pub fn connect(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Connect(Arc::from(error.into()))
    }

    /// Whether the request was taken is not known.
    pub fn broken(error: hyper::Error) -> Self {
        Self::Broken(Arc::new(error))
    }

    /// Whether nobody was reached.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_))
    }
}

/// How old a connection may get: those that were opened together do not end together.
pub fn lifetime(age: Duration) -> Duration {
    age.mul_f64(rand::random_range(0.75..1.25))
}

/// Where a server is, as a plan says it.
#[derive(Debug)]
pub struct Address {
    pub server: Server,
    /// What stands before the path of requests, without a slash at its end.
    pub base: String,
    /// Its connections, once it was asked.
    origin: OnceLock<Arc<Origin>>,
}

impl Address {
    /// Takes an address apart.
    ///
    /// # Arguments
    /// * `ca` - the file of those who may vouch for the server, if these are not the public authorities.
    ///
    /// # Errors
    /// It is no address of HTTP, has credentials in it, or is not secured and has a `ca`.
    pub fn of(url: &str, ca: Option<&Path>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(format!("{url:?} has no scheme or no host"));
        };
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err(format!("{scheme} is neither http nor https"));
        }
        if ca.is_some() && scheme != Scheme::HTTPS {
            return Err(format!("a ca vouches for servers of https, and {url:?} is none"));
        }
        if authority.as_str().contains('@') {
            return Err("credentials belong into a Secret and not into the address".to_owned());
        }
        let base = parts.path_and_query.map(|path| path.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        Ok(Self { server: Server { scheme, authority, ca: ca.map(Path::to_owned) }, base, origin: OnceLock::new() })
    }

    /// The server, which is looked up once.
    pub fn origin(&self, upstream: &Upstream) -> &Arc<Origin> {
        self.origin.get_or_init(|| upstream.origin(&self.server))
    }
}

/// Sends requests to targets.
pub struct Upstream {
    dialer: Arc<Dialer>,
    origins: Mutex<HashMap<Server, Arc<Origin>>>,
    calling: Pool,
    pub credentials: Arc<Credentials>,
}

impl Upstream {
    /// A client that reads credentials below a folder.
    pub fn new(folder: PathBuf) -> Self {
        let credentials = Arc::new(Credentials::new(folder));
        let dialer = Arc::new(Dialer::new(Version::Http1, HttpConnector::new(), Arc::clone(&credentials)));
        let calling = Pool::new(Arc::clone(&credentials));
        Self { dialer, origins: Mutex::default(), calling, credentials }
    }

    /// Gives a server's connections, which all that ask it share.
    fn origin(&self, server: &Server) -> Arc<Origin> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = origins.get(server) {
            return Arc::clone(known);
        }
        // Those of plans that are no more served.
        origins.retain(|_, origin| Arc::strong_count(origin) > 1);
        let origin = Origin::new(server.clone(), Arc::clone(&self.dialer));
        origins.insert(server.clone(), Arc::clone(&origin));
        origin
    }

    /// Sends a request to where its address says.
    ///
    /// # Errors
    /// No connection, or it broke before the head of an answer came.
    pub async fn send(&self, request: Request<Stream>) -> Result<Response<Coming>, SendError> {
        self.origin(&Server::of(request.uri())?).send(request).await
    }

    /// Sends a request over HTTP/2 to a server, whose address it has.
    ///
    /// # Errors
    /// As above.
    pub async fn call(&self, server: &Server, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        self.calling.call(server, request).await
    }
}
