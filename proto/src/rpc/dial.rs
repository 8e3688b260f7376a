//! How a connection to a coordinator is opened: by TCP, unless somebody has other means.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::codegen::{BoxFuture, Service, http::Uri};

/// A connection's two directions.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

type Opening = BoxFuture<Box<dyn Connection>, io::Error>;

/// Opens connections by other means than TCP, to a network that is simulated for instance.
#[derive(Clone)]
pub struct Dial(Arc<dyn Fn(Uri) -> Opening + Send + Sync>);

impl Dial {
    /// Opens connections by `open`, which gets `http://HOST:PORT/`.
    pub fn new(open: impl Fn(Uri) -> Opening + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Box<dyn Connection>>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, io::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let opening = (self.0)(to);
        Box::pin(async move { Ok(TokioIo::new(opening.await?)) })
    }
}
