//! The client for all targets: one pool of connections, TLS by rustls, no redirects, no decompression.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that nobody has used for so long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// For so long a credential that was read counts; the kubelet takes about a minute to bring a new one anyway.
const CREDENTIAL_AGE: Duration = Duration::from_secs(5);

/// Bytes of a credential at most.
const CREDENTIAL_SIZE: usize = 64 << 10;

/// Sends requests to targets.
pub struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
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
        let https =
            HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(https);
        Self { client, folder, credentials: Mutex::default() }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// No connection, or it broke before the head of an answer came.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.client.request(request).await
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
