//! How a server is reached: a connection in time, with TLS by whom it is trusted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::credentials::Credentials;
use crate::upstream::SendError;

/// In so long there has to be a connection, with TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server, by all that makes its connections others than those to another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    pub scheme: Scheme,
    pub authority: Authority,
    /// The file of the certificates of those who may vouch for it; none for the public authorities.
    pub ca: Option<PathBuf>,
}

impl Server {
    /// Where a request goes by its address.
    ///
    /// # Errors
    /// The address has no scheme or no host.
    pub fn of(uri: &Uri) -> Result<Self, SendError> {
        let missing = || SendError::connect("the address has no scheme or no host");
        let (scheme, authority) = uri.scheme().zip(uri.authority()).ok_or_else(missing)?;
        Ok(Self { scheme: scheme.clone(), authority: authority.clone(), ca: None })
    }
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

/// A connection to a server.
pub type Socket = MaybeHttpsStream<TokioIo<TcpStream>>;

type Connector = HttpsConnector<HttpConnector>;

/// Opens connections of one version of HTTP.
#[derive(Debug)]
pub struct Dialer {
    version: Version,
    http: HttpConnector,
    public: Connector,
    credentials: Arc<Credentials>,
    /// By the file of their authorities, with what that held.
    private: Mutex<HashMap<PathBuf, (Vec<u8>, Connector)>>,
}

impl Dialer {
    /// A dialer that finds authorities among the credentials.
    pub fn new(version: Version, mut http: HttpConnector, credentials: Arc<Credentials>) -> Self {
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let public = over(version, HttpsConnectorBuilder::new().with_webpki_roots().https_or_http(), http.clone());
        Self { version, http, public, credentials, private: Mutex::default() }
    }

    /// Opens a connection.
    ///
    /// # Arguments
    /// * `begin` - what has to be agreed on first.
    ///
    /// # Errors
    /// It is not there in time, or its server is not trusted.
    pub async fn dial<T, F>(&self, server: &Server, begin: impl FnOnce(Socket) -> F) -> Result<T, SendError>
    where
        F: Future<Output = hyper::Result<T>>,
    {
        let address = Uri::builder().scheme(server.scheme.clone()).authority(server.authority.clone());
        let address = address.path_and_query("/").build().map_err(SendError::connect)?;
        let connector = self.connector(server.ca.as_deref()).map_err(SendError::connect)?;
        let opening = async {
            let socket = connector.oneshot(address).await.map_err(SendError::connect)?;
            begin(socket).await.map_err(SendError::connect)
        };
        let late = |_| SendError::connect(format!("it was not there within {CONNECT_TIMEOUT:?}"));
        timeout(CONNECT_TIMEOUT, opening).await.map_err(late)?
    }

    /// The authorities are looked at for each connection, and there are few: new ones count from the next on.
    fn connector(&self, ca: Option<&Path>) -> Result<Connector, String> {
        let Some(path) = ca else { return Ok(self.public.clone()) };
        let told = |words| format!("ca {}: {words}", path.display());
        let text = self.credentials.read(path).map_err(told)?;
        let mut private = self.private.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, connector)) = private.get(path)
            && *known == text
        {
            return Ok(connector.clone());
        }
        let config = ClientConfig::builder().with_root_certificates(roots(&text).map_err(told)?).with_no_client_auth();
        let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let connector = over(self.version, builder, self.http.clone());
        private.insert(path.to_owned(), (text, connector.clone()));
        Ok(connector)
    }
}

fn over(
    version: Version,
    builder: HttpsConnectorBuilder<hyper_rustls::builderstates::WantsProtocols1>,
    http: HttpConnector,
) -> Connector {
    match version {
        Version::Http1 => builder.enable_http1().wrap_connector(http),
        Version::Http2 => builder.enable_http2().wrap_connector(http),
    }
}

/// Reads the certificates of authorities.
///
/// # Errors
/// It has none, or one that is none.
pub fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|each| roots.add(each).map_err(|error| error.to_string()));
        added.map_err(|words| format!("it has a certificate that cannot be read: {words}"))?;
    }
    if roots.is_empty() { Err("it has no certificate in PEM".to_owned()) } else { Ok(roots) }
}
