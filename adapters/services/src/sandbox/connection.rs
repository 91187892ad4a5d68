//! Connections that can be cut: how the sandbox goes silent like a real network does.
//!
//! HTTP has no answer for "no answer". A handler therefore shares a [`Line`] with the socket it
//! is served on; once the line is cut, the socket refuses every read and write, so the server
//! gives the connection up and not one byte of the response leaves.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How far the sandbox is on its way to the end; it only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Requests are served, some of them never answered.
    Serving,
    /// No connection is accepted and none is held; what is in flight is answered.
    Draining,
    /// Every connection is given up.
    Cut,
}

/// Returns once the sandbox is in `phase` or past it, or is gone.
pub(super) async fn until(mut phases: watch::Receiver<Phase>, phase: Phase) {
    // An error says that the sandbox was dropped, which is past every phase.
    let _ = phases.wait_for(|now| *now >= phase).await;
}

/// The kill switch a handler shares with the connection that it answers on.
#[derive(Debug, Clone)]
pub(super) struct Line(Arc<AtomicBool>);

impl Line {
    /// From here on nothing is read from or written to the connection.
    pub(super) fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn intact(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the sandbox cut the line"))
        } else {
            Ok(())
        }
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Line {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().line.clone()
    }
}

/// A TCP listener whose connections can be cut.
pub(super) struct CuttableListener {
    listener: TcpListener,
    phases: watch::Receiver<Phase>,
}

impl CuttableListener {
    pub(super) fn new(listener: TcpListener, phases: watch::Receiver<Phase>) -> Self {
        Self { listener, phases }
    }
}

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CuttableStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // An answer is one small write; waiting for more to send only adds latency.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY was refused");
                    }
                    let line = Line(Arc::new(AtomicBool::new(false)));
                    let over = Box::pin(until(self.phases.clone(), Phase::Cut));
                    return (CuttableStream { stream, line, over }, peer);
                }
                Err(error) => {
                    // Out of file descriptors, or the peer is gone: the next one may do better,
                    // but a loop without a pause would burn a core.
                    tracing::warn!(%error, "the sandbox could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that works until its line is cut or the sandbox is over.
pub(super) struct CuttableStream {
    stream: TcpStream,
    line: Line,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.line.intact()?;
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            // Only a read that would wait listens for the end, so that a busy connection pays
            // for it once a request. A peer that sends half a request cannot hold up `stop`.
            ready!(self.over.as_mut().poll(context));
            self.line.cut();
            return Poll::Ready(self.line.intact());
        }
        read
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.line.intact()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.line.intact()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.intact()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
