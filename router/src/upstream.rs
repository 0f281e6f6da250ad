//! The client for all targets: pools of connections, TLS by rustls, no redirects, no decompression.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::calling::Pool;
use crate::exchange::{Coming, Origin};
use crate::message::Stream;

/// In so long there has to be a connection, with TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For so long, up to a quarter more or less, a connection takes requests, so that pods that came later get theirs.
pub const AGE: Duration = Duration::from_secs(60);

/// For so long a credential that was read counts; the kubelet takes about a minute to bring a new one anyway.
const CREDENTIAL_AGE: Duration = Duration::from_secs(5);

/// Bytes of a credential at most.
const CREDENTIAL_SIZE: usize = 64 << 10;

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

/// A connection to a server.
pub type Socket = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Opens a connection.
///
/// # Arguments
/// * `begin` - what has to be agreed on first.
///
/// # Errors
/// It is not there in time.
pub async fn open<T, F>(
    connector: HttpsConnector<HttpConnector>,
    scheme: Scheme,
    authority: Authority,
    begin: impl FnOnce(Socket) -> F,
) -> Result<T, SendError>
where
    F: Future<Output = hyper::Result<T>>,
{
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
    let uri = uri.map_err(SendError::connect)?;
    let opening = async {
        let socket = connector.oneshot(uri).await.map_err(SendError::connect)?;
        begin(socket).await.map_err(SendError::connect)
    };
    let late = |_| SendError::connect(format!("it was not there within {CONNECT_TIMEOUT:?}"));
    timeout(CONNECT_TIMEOUT, opening).await.map_err(late)?
}

/// How old a connection may get: those that were opened together do not end together.
pub fn lifetime(age: Duration) -> Duration {
    age.mul_f64(rand::random_range(0.75..1.25))
}

/// Where a request goes.
///
/// # Errors
/// Its address has no scheme or no host.
pub fn server_of(uri: &Uri) -> Result<(&Scheme, &Authority), SendError> {
    uri.scheme().zip(uri.authority()).ok_or_else(|| SendError::connect("the address has no scheme or no host"))
}

/// Takes an address apart: scheme, host and port, and the path before that of requests, without a slash at its end.
///
/// # Errors
/// It is no address of HTTP, or has credentials in it.
pub fn address(url: &str) -> Result<(Scheme, Authority, String), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
    let parts = uri.into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
        return Err(format!("{url:?} has no scheme or no host"));
    };
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err(format!("{scheme} is neither http nor https"));
    }
    if authority.as_str().contains('@') {
        return Err("credentials belong into a Secret and not into the address".to_owned());
    }
    let base = parts.path_and_query.map(|path| path.path().trim_end_matches('/').to_owned()).unwrap_or_default();
    Ok((scheme, authority, base))
}

/// Sends requests to targets.
pub struct Upstream {
    connector: HttpsConnector<HttpConnector>,
    origins: Mutex<HashMap<(Scheme, Authority), Arc<Origin>>>,
    calling: Pool,
    folder: PathBuf,
    credentials: Mutex<HashMap<PathBuf, (Instant, HeaderValue)>>,
}

impl Upstream {
    /// A client that reads credentials below a folder.
    pub fn new(folder: PathBuf) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let calling = Pool::new(http.clone());
        let connector =
            HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(http);
        Self { connector, origins: Mutex::default(), calling, folder, credentials: Mutex::default() }
    }

    /// Gives the server of an address, whose connections all that have it share.
    pub fn origin(&self, scheme: &Scheme, authority: &Authority) -> Arc<Origin> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (scheme.clone(), authority.clone());
        if let Some(known) = origins.get(&key) {
            return Arc::clone(known);
        }
        // Those of plans that are no more served.
        origins.retain(|_, origin| Arc::strong_count(origin) > 1);
        let origin = Origin::new(scheme.clone(), authority.clone(), self.connector.clone());
        origins.insert(key, Arc::clone(&origin));
        origin
    }

    /// Sends a request to where its address says.
    ///
    /// # Errors
    /// No connection, or it broke before the head of an answer came.
    pub async fn send(&self, request: Request<Stream>) -> Result<Response<Coming>, SendError> {
        let (scheme, authority) = server_of(request.uri())?;
        self.origin(scheme, authority).send(request).await
    }

    /// Sends a request over HTTP/2.
    ///
    /// # Errors
    /// As above.
    pub async fn call(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        self.calling.call(request).await
    }

    /// Gives a credential as the value of a header.
    ///
    /// # Errors
    /// It cannot be read, or is no value of a header; the text does not have it.
    pub fn credential(&self, path: &Path, prefix: &str) -> Result<HeaderValue, String> {
        let now = Instant::now();
        let mut known = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, value)) = known.get(path)
            && now.duration_since(*read) < CREDENTIAL_AGE
        {
            return Ok(value.clone());
        }
        // A few bytes in memory, read once in some seconds: this does not hold up anybody.
        let bytes =
            std::fs::read(self.folder.join(path)).map_err(|error| format!("credential {}: {error}", path.display()))?;
        if bytes.len() > CREDENTIAL_SIZE {
            return Err(format!("credential {} has {} bytes", path.display(), bytes.len()));
        }
        let text = format!("{prefix}{}", String::from_utf8_lossy(&bytes).trim());
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| format!("credential {} is no value of a header", path.display()))?;
        value.set_sensitive(true);
        known.insert(path.to_owned(), (now, value.clone()));
        Ok(value)
    }
}
