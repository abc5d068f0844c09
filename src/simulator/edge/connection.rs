//! Connections: how many, how slow they may be, and how they are cut from inside a request.
//!
//! A fault must end a connection without an answer, which HTTP frameworks do not offer. So every connection carries a
//! switch; once it is thrown, reads and writes fail and the socket closes with a reset. What is wrong below HTTP (no
//! request at all, a head too large or too slow) is answered with a bare 400 or 431, or by closing, in hyper.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Sleep,
};

use super::server;
use crate::simulator::Shared;

/// Pause after an accept that failed, so that a lack of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Largest head of a request, in bytes; the longest that FIS's model allows has a tenth of it.
const MAX_HEAD: usize = 64 * 1024;

/// What clients may take of the simulator at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; further ones wait in the system's queue until one ends.
    pub connections: usize,
    /// Longest wait for the head of a request, also on a connection that is kept open.
    pub head: Duration,
    /// Longest wait for the body of a request, and for a client to take the next piece of an answer.
    pub body: Duration,
    /// Longest time between two looks of whoever waits, since the clock may jump; news wake them at once.
    pub look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            head: Duration::from_secs(60),
            body: Duration::from_secs(30),
            look: Duration::from_secs(1),
        }
    }
}

/// Who calls, as far as the connection tells.
#[derive(Debug, Clone)]
pub(in crate::simulator) struct Caller {
    pub(in crate::simulator) address: IpAddr,
    pub(in crate::simulator) switch: Switch,
}

/// One connection.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    switch: Switch,
    /// Longest wait for the client to take what is written, and when it is over once it has begun.
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Cuts one connection.
#[derive(Debug, Clone, Default)]
pub(in crate::simulator) struct Switch(Arc<AtomicBool>);

impl Switch {
    /// Throws it: nothing more goes through the connection.
    pub(in crate::simulator) fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Serves connections until the simulator stops and all have ended. Dropped, it drops them too.
pub(in crate::simulator) async fn serve(listener: TcpListener, shared: Arc<Shared>, limits: Limits) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.stopping.cancelled() => break,
            Some(_ended) = open.join_next() => {}
            accepted = listener.accept(), if open.len() < limits.connections => match accepted {
                Ok((stream, peer)) => {
                    open.spawn(attend(stream, peer, Arc::clone(&shared), limits));
                }
                Err(_exhausted) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn attend(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, limits: Limits) {
    let caller = Caller { address: peer.ip(), switch: Switch::default() };
    let line = TokioIo::new(Line { stream, switch: caller.switch.clone(), patience: limits.body, stalled: None });
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, caller) = (Arc::clone(&shared), caller.clone());
        async move { Ok::<_, Infallible>(server::serve(&shared, &caller, limits, request.map(Body::new)).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(MAX_HEAD);
    let mut connection = pin!(builder.serve_connection(line, service));
    tokio::select! {
        biased;
        () = shared.stopping.cancelled() => connection.as_mut().graceful_shutdown(),
        // How a connection ends is the client's concern.
        _ended = connection.as_mut() => return,
    }
    let _ended = connection.await;
}

impl Line {
    fn check(&self) -> io::Result<()> {
        if self.switch.is_cut() {
            // A close with data unread or linger zero is a reset; without, the client only sees the end.
            self.stream.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
